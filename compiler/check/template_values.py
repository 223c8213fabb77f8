"""What is wrong with a template's use of its variables, said where it stands."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from teola.compiler.check.context import listed
from teola.compiler.check.template_places import TemplatePlace
from teola.compiler.check.template_types import Misuse, misuses
from teola.compiler.diagnostics import nearest
from teola.compiler.prompts.environment import ENVIRONMENT
from teola.compiler.types import FIELDS, Type, field_type

if TYPE_CHECKING:
    from jinja2 import nodes

_NOT_TEXT = re.compile(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_BRACED = re.compile(r"(?<![{$])\{\s*([a-z]\w*)\s*\}(?!\})")


@lru_cache(maxsize=4096)
def _syntax(source: str) -> nodes.Template:
    """A valid template as it is written: a Template's own nodes are rewritten for rendering."""
    return ENVIRONMENT.parse(source)


def check_values(place: TemplatePlace, source: str, types: Mapping[str, Type]) -> None:
    """Report fields that a variable's type does not have, and lists that are printed."""
    for misuse in misuses(_syntax(source), types):
        if not misuse.name:
            _report_printed(place, misuse)
        elif misuse.of.item is not None:
            _report_field_of_list(place, misuse, misuse.of.item)
        else:
            _report_field(place, misuse)


def single_braces(source: str, names: Collection[str]) -> dict[str, int]:
    """Of ``names`` those that a template's text has as ``{name}`` -> the line of the first."""
    found: dict[str, int] = {}
    text = _NOT_TEXT.sub(lambda match: "\n" * match[0].count("\n"), source)
    for match in _BRACED.finditer(text):
        if match[1] in names:
            found.setdefault(match[1], text.count("\n", 0, match.start()) + 1)
    return found


def _pattern(misuse: Misuse) -> str:
    """How the misused expression is written, as a pattern."""
    words = [word for word in (*misuse.value.split("."), misuse.name) if word]
    dotted = r"(?<!\w)" + r"\s*\.\s*".join(map(re.escape, words)) + r"\b"
    return rf"{dotted}|(?<=['\"]){re.escape(words[-1])}(?=['\"])"


def _report_printed(place: TemplatePlace, misuse: Misuse) -> None:
    name = misuse.value or "…"
    place.context.diagnostics.error(
        "list-in-prompt",
        f"{_subject(misuse)} is {misuse.of}: a list cannot be printed in a prompt",
        place.find(misuse.line, _pattern(misuse)) if misuse.value else place.line(misuse.line),
        help=f"{{% for item in {name} %}}{{{{ item }}}}{{% endfor %}}, "
        f"{{{{ {name} | join }}}} or {{{{ {name} | tojson }}}}",
    )


def _report_field_of_list(place: TemplatePlace, misuse: Misuse, item: Type) -> None:
    has = field_type(item, misuse.name) is not None
    shown = f"item.{misuse.name}" if has else "item"
    if misuse.name in ("length", "size", "count"):
        help = f"{{{{ {misuse.value or '…'} | length }}}}"
    else:
        help = f"{{% for item in {misuse.value or '…'} %}}{{{{ {shown} }}}}{{% endfor %}}"
    place.context.diagnostics.error(
        "field-of-list",
        f"{_subject(misuse)} is {misuse.of}: a list has no field {misuse.name!r}, loop over it",
        place.find(misuse.line, _pattern(misuse)),
        help=help,
    )


def _report_field(place: TemplatePlace, misuse: Misuse) -> None:
    fields = FIELDS.get(misuse.of.name, {})
    near = nearest(misuse.name, fields)
    meant = f"{{{{ {misuse.value}.{near} }}}}" if misuse.value else repr(near)
    place.context.diagnostics.error(
        "unknown-field",
        f"{_subject(misuse)} is a {misuse.of}, which has no field {misuse.name!r}"
        if fields
        else f"{_subject(misuse)} is {misuse.of}, which has no fields",
        place.find(misuse.line, _pattern(misuse)),
        notes=[f"a {misuse.of} has fields: {listed(fields)}"] if fields else (),
        help=f"did you mean {meant}?"
        if near
        else (f"write {{{{ {misuse.value} }}}}" if misuse.value and not fields else None),
    )


def _subject(misuse: Misuse) -> str:
    return repr(misuse.value) if misuse.value else "this"
