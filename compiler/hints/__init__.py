"""What newcomers type first, understood: mistakes of files, characters, YAML, other languages."""
