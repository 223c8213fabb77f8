"""Observing: what a pool does, as spans, traces and metrics. Nothing here runs unless asked for."""
