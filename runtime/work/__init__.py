"""How ready primitives are done: here, as items of an engine, or as LLM calls."""
