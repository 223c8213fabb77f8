"""What primitives cost: profiles, sizes, latency estimates, the bound."""
