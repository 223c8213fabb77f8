"""Workflows that ship with Teola, each runnable by its name, and the documents they answer from."""
