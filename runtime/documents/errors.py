"""Why a file is no document."""

from __future__ import annotations


class UnreadableError(Exception):
    """Why one file's content is no document."""


class ForeignError(UnreadableError):
    """A file of a kind that is not read: folders and globs leave it out."""
