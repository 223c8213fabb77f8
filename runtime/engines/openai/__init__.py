"""Engines on servers that speak OpenAI's protocol, through the official client."""
