"""Ids: what inputs, engines, modules and outputs may be called."""

from __future__ import annotations

import re
import unicodedata
from typing import LiteralString

from pydantic_core import PydanticCustomError

ID_PATTERN = "^[a-z][a-z0-9_]*$"
"""An id, for JSON Schema."""

BOUND_NAMES = ("inputs", "outputs", "state", "loop", "item")
"""Names that mean something in every workflow."""

JINJA_WORDS = (
    *("and", "or", "not", "in", "is", "if", "else", "elif", "for", "true", "false", "none"),
    *("self", "super", "caller", "varargs", "kwargs", "range", "dict", "namespace"),
)
"""Words that a template or an expression cannot use as a name."""

MAX_LENGTH = 64
"""Longest id."""

_ID = re.compile("[a-z][a-z0-9_]*")
_WORD = re.compile("[A-Za-z0-9]+")
_CASE = re.compile("(?<=[a-z0-9])(?=[A-Z])")


def check_id(value: object) -> object:
    """Refuse what is no id: ``[a-z][a-z0-9_]*``, up to 64 letters.

    Raises:
        PydanticCustomError: ``bad-id``, with the nearest id.
    """
    if not isinstance(value, str):
        return value
    if _ID.fullmatch(value) is None:
        meant = as_id(value)
        help_text = f"write {meant}" if meant else "as in found, best_3"
        raise _bad("bad-id", f"'{value}' is not an id: ids are [a-z][a-z0-9_]*", help_text)
    if len(value) > MAX_LENGTH:
        message = f"an id has at most {MAX_LENGTH} letters, this one has {len(value)}"
        raise _bad("bad-id", message, "find a shorter one")
    return value


def check_module_id(value: object) -> object:
    """Refuse what is no id, and ids that mean something else in references and prompts.

    Raises:
        PydanticCustomError: ``bad-id`` or ``reserved-id``.
    """
    value = check_id(value)
    if value in BOUND_NAMES or value in JINJA_WORDS:
        owner = "workflow" if value in BOUND_NAMES else "template"
        message = f"'{value}' means something in every {owner}: no module can be called so"
        raise _bad("reserved-id", message, f"choose another id, as my_{value}")
    return value


def as_id(text: str) -> str:
    """Return the id that is nearest to a name, or "" where there is none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = _WORD.findall(_CASE.sub("_", plain))
    found = "_".join(words).lower()[:MAX_LENGTH]
    return found if _ID.fullmatch(found) else ""


def _bad(code: LiteralString, message: str, help_text: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{what}", {"what": message, "help": help_text})
