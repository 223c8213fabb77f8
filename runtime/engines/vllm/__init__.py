"""Engines on vLLM, unmodified: language models, embedders and cross-encoders."""
