"""JSON Schemas of workflow and plan files, generated from the compiler's models."""
