"""Documents that users name: found, opened and turned into text."""
