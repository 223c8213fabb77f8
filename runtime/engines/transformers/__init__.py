"""LLMs on continuous batching of transformers, in PyTorch."""
