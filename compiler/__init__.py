"""Teola's compiler: a workflow file becomes a checked, rewritten and portable plan."""
