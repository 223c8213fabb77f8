"""Expressions of other languages in Jinja's spelling."""

from __future__ import annotations

import re

_REVERSED = re.compile(
    r"(?P<constant>\"[^\"]*\"|'[^']*'|-?\d+(?:\.\d+)?)\s*(?P<operator>==|!=)\s*"
    r"(?P<name>[A-Za-z_]\w*(?:\.\w+)*)"
)
_CHOICE = re.compile(r"(?P<test>[^?:]+?)\s*\?\s*(?P<yes>[^?:]+?)\s*:\s*(?P<no>[^?:]+)")
_NOT = re.compile(r"!(?!=)\s*")
_PLAIN_START = re.compile(r"[A-Za-z_(]")


def in_jinja(expression: str) -> str:
    """Return the expression with Jinja's words for ``!``, ``&&``, ``||`` and ``? :``."""
    text = expression.strip()
    if match := _CHOICE.fullmatch(text):
        text = f"{match['yes']} if {match['test']} else {match['no']}"
    text = _NOT.sub("not ", text)
    text = re.sub(r"\s*&&\s*", " and ", text)
    text = re.sub(r"\s*\|\|\s*", " or ", text)
    text = text.replace("===", "==").replace("!==", "!=")
    return _REVERSED.sub(
        lambda match: f"{match['name']} {match['operator']} {match['constant']}", text
    )


def is_plain(expression: str) -> bool:
    """Say whether YAML reads the expression as one text without quotes."""
    return (
        _PLAIN_START.match(expression) is not None
        and ": " not in expression
        and " #" not in expression
    )
