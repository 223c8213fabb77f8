"""How calls of LLMs reach replicas: order, admission, prefixes, warm-ups and repair."""
