"""Inputs from the command line: ``-i name=value`` becomes a value of the input's declared type."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from teola.runtime.errors import InputError

if TYPE_CHECKING:
    from teola.compiler.graph.pgraph import InputPort, Json

Value: TypeAlias = "Json"

WRITTEN_AS_IS = frozenset({"text", "collection"})
"""Types whose value is the text that was typed, whatever it looks like."""

MAX_SHOWN = 60
"""Characters of a value that a message repeats."""


def read_inputs(
    given: Sequence[str], ports: Sequence[InputPort], *, whole: bool = True
) -> dict[str, Value]:
    """Return the run's inputs from ``name=value`` words.

    ``name=@file`` reads the value from a file (``@-``: standard input, ``@@x``: the text ``@x``);
    for documents ``@`` is optional, for the value is a path. Repeating a list input appends.
    Unless they are the ``whole`` of the inputs, some may be missing.

    Raises:
        InputError: an unknown, doubled or missing input, an unreadable file, a value that cannot be
            of the declared type.
    """
    by_name = {port.name: port for port in ports}
    values: dict[str, Value] = {}
    for word in given:
        name, equals, text = word.partition("=")
        name = name.strip()
        if not equals:
            raise InputError(f"-i {word}: write -i name=value, or -i name=@file")
        port = by_name.get(name)
        if port is None:
            raise InputError(_unknown(name, ports))
        value = read_value(port.name, port.type, text)
        before = values.get(name, [])
        if isinstance(before, list) and isinstance(value, list):
            values[name] = [*before, *value]
        elif name not in values:
            values[name] = value
        else:
            raise InputError(f"input {name!r} is given twice, and {port.type} is not a list")
    if whole:
        _require_all(ports, values)
    return values


def read_value(name: str, kind: str, text: str) -> Value:
    """Return one value of type ``kind`` (``list<text>``, ``int``, …) from what was typed.

    A list takes its items written as YAML, or a single item.

    Raises:
        InputError: an unreadable file, or a value that cannot be of that type.
    """
    item = kind[len("list<") : -1] if kind.startswith("list<") else kind
    if item == "document":
        value = _read_documents(name, kind, text)
    else:
        text = _read_file(name, text)
        as_is = item in WRITTEN_AS_IS and (item == kind or not text.startswith(("[", "- ")))
        value = text if as_is else _parse(name, kind, text)
    return _checked(name, kind, value)


def _checked(name: str, kind: str, value: Value) -> Value:
    """Return the value where it is of its type, a single item of a list type as a list."""
    from teola.compiler.types import parse_type
    from teola.compiler.values import mismatch

    wrong = mismatch(value, parse_type(kind))
    if wrong is not None:
        raise InputError(f"input {name!r}: {wrong}")
    return [value] if kind.startswith("list<") and not isinstance(value, list) else value


def _read_documents(name: str, kind: str, text: str) -> Value:
    """A path (``~`` is home), or documents written out as YAML."""
    if text.startswith(("{", "[", "- ")):
        return _parse(name, kind, text)
    path = text.removeprefix("@")
    if not path.strip():
        raise InputError(
            f"input {name!r}: expected {kind}, got nothing: give a file, folder or glob, "
            "or {name: …, text: …}"
        )
    return os.path.expanduser(path)  # noqa: PTH111  # a Path would change a URL that is refused


def _read_file(name: str, text: str) -> str:
    """Follow ``@file``; the file's last line break is not part of the value."""
    if text.startswith("@@") or not text.startswith("@"):
        return text.removeprefix("@")
    path = text[1:]
    try:
        content = sys.stdin.read() if path == "-" else Path(path).expanduser().read_text("utf-8")
    except OSError as error:
        raise InputError(
            f"input {name!r}: cannot read {path!r}: {error.strerror or error} "
            "(a text that begins with @ is written @@)"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"input {name!r}: {path!r} is not UTF-8 text (byte {error.start})"
        ) from error
    return content.removesuffix("\n").removesuffix("\r")


def _parse(name: str, kind: str, text: str) -> Value:
    """Read YAML, of which JSON is a part, as the workflow language reads it."""
    from teola.compiler.diagnostics import Diagnostics
    from teola.compiler.source import Source, load_yaml

    if not text.strip():
        return None
    diagnostics = Diagnostics()
    tree = load_yaml(Source(f"-i {name}", text), diagnostics)
    if diagnostics.errors or tree is None:
        reason = next((found.message for found in diagnostics.errors), "it is not YAML")
        shown = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
        raise InputError(f"input {name!r}: expected {kind}, cannot read {shown!r}: {reason}")
    return cast("Value", tree.data)


def _unknown(name: str, ports: Sequence[InputPort]) -> str:
    from teola.compiler.diagnostics import nearest

    close = nearest(name, [port.name for port in ports])
    hint = f"; did you mean {close!r}?" if close else ""
    return f"there is no input {name!r}{hint}\n{describe(ports)}"


def _require_all(ports: Sequence[InputPort], values: dict[str, Value]) -> None:
    missing = [port for port in ports if port.default is None and port.name not in values]
    if not missing:
        return
    names = " and ".join(repr(port.name) for port in missing)
    what = f"inputs {names} are" if len(missing) > 1 else f"input {names} is"
    how = " ".join(f"-i {port.name}=…" for port in missing)
    raise InputError(f"{what} missing: give {how}\n{describe(ports)}")


def describe(ports: Sequence[InputPort]) -> str:
    """List a workflow's inputs: name, type, whether it must be given, what it is."""
    if not ports:
        return "the workflow has no inputs"
    names = max(len(port.name) for port in ports)
    kinds = max(len(port.type) for port in ports)
    lines = [
        f"  {port.name:<{names}}  {port.type:<{kinds}}  "
        f"{'required' if port.default is None else 'optional'}  {port.description}".rstrip()
        for port in ports
    ]
    return "\n".join(["the inputs are:", *lines])
