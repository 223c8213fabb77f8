"""The version of Teola, in one place."""

VERSION = "0.1.0"
