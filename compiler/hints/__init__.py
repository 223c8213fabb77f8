"""What newcomers type first, understood: mistakes of files, characters, YAML and other languages."""
