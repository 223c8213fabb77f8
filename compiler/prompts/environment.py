"""The one sandboxed, strict Jinja environment, and the plain data that may enter it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Undefined, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range

from teola.compiler.errors import TeolaError
from teola.compiler.types import record_text


class PromptError(TeolaError):
    """A template is not valid, or cannot be rendered; ``line`` is the template's, from 1.

    ``name`` is the variable at fault and ``help`` what would be right, where they are known.
    """

    def __init__(
        self,
        message: str,
        line: int | None = None,
        *,
        name: str | None = None,
        help: str | None = None,
    ) -> None:
        super().__init__(message)
        self.line = line
        self.name = name
        self.help = help


PRINT_HELP = "loop over it, or `| join`, `| tojson`"


def _refuse(kind: str) -> NoReturn:
    raise PromptError(f"a {kind} cannot be printed in a prompt: {PRINT_HELP}", help=PRINT_HELP)


class _Map(dict[str, Any]):
    """A map inside a template: its fields are its keys; it does not print."""

    def __str__(self) -> str:
        return _refuse("map")


class _Record(_Map):
    """A document, chunk, passage or message inside a template: prints its text or content."""

    def __str__(self) -> str:
        return record_text(self) or ""


class _List(list[Any]):
    """A list inside a template: it does not print."""

    def __str__(self) -> str:
        return _refuse("list")


def enter(value: object, name: str) -> Any:
    """``value`` as a template may see it: plain data only, records know how they print.

    Raises:
        PromptError: ``value`` of variable ``name`` is, or holds, something that is not plain data.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        kind = _Map if record_text(value) is None else _Record
        return kind((str(key), enter(item, name)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return _List([enter(item, name) for item in value])
    raise PromptError(
        f"{name!r} holds a {type(value).__name__}: only plain data (text, numbers, bools, lists, "
        "maps) may enter a prompt",
        name=name,
    )


@pass_context
def _finalized(_: Context, value: Any) -> Any:
    """Taking the context keeps Jinja from printing constants while it compiles."""
    return _printed(value)


def _printed(value: Any) -> Any:
    """What ``{{ value }}`` prints: null prints nothing, a bool as it is written in YAML."""
    if isinstance(value, (str, Undefined)):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, _Record)):
        return str(value)
    if callable(value):
        _refuse("callable")
    return _refuse("map" if isinstance(value, Mapping) else "list")


def _tojson(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _join(context: Context, value: Iterable[Any], d: str = "", attribute: Any = None) -> str:
    items: Iterable[Any] = value
    if attribute is not None:
        parts = str(attribute).split(".")
        items = (_walk(context, item, parts) for item in value)
    return d.join(str(_printed(item)) for item in items)


def _walk(context: Context, item: Any, parts: list[str]) -> Any:
    for part in parts:
        item = context.environment.getitem(item, int(part) if part.isdigit() else part)
    return item


_KEPT = (
    "abs batch capitalize center count d default dictsort filesizeformat first float format "
    "groupby indent int items join last length list lower map max min reject rejectattr replace "
    "reverse round select selectattr slice sort string striptags sum title tojson trim truncate "
    "unique upper urlencode wordcount wordwrap"
).split()


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Jinja as prompts may use it: no loader, no Python attributes, no methods, nothing random."""

    intercepted_binops = frozenset({"*"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            optimized=False,
            finalize=_finalized,
            cache_size=0,
        )
        self.globals = {"range": safe_range}
        self.filters = {name: FILTERS[name] for name in _KEPT}
        self.filters["tojson"] = _tojson
        self.filters["join"] = pass_context(_join)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``a.b`` is the key ``b``, never a Python attribute (but ``loop.index`` and its kin)."""
        if isinstance(obj, LoopContext):
            return super().getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A key of a map, an index or slice of a list or text."""
        fields = getattr(type(obj), "_fields", ())  # the pairs that groupby gives
        if isinstance(argument, str) and argument in fields:
            return obj[fields.index(argument)]
        try:
            return obj[argument]
        except (TypeError, LookupError):
            if isinstance(obj, Undefined):
                return obj[argument]  # raises: names the variable
            return self.undefined(hint=_absent(obj, argument))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Numbers are multiplied, nothing else: a repeated text or list could fill the memory."""
        if not all(isinstance(side, (int, float)) for side in (left, right)):
            raise PromptError("`*` is for numbers")
        return left * right


def _absent(obj: Any, argument: Any) -> str:
    if isinstance(obj, Mapping):
        have = ", ".join(list(map(str, obj))[:12]) or "nothing"
        return f"there is no key {argument!r}; there are: {have}"
    if isinstance(obj, (list, tuple, str)) and isinstance(argument, int):
        return f"there is no item {argument}: the length is {len(obj)}"
    kind = "list" if isinstance(obj, (list, tuple)) else type(obj).__name__
    kind = {"str": "text", "NoneType": "null"}.get(kind, kind)
    if kind == "list":
        return f"a list has no field {argument!r}: loop over it"
    return f"a {kind} has no field {argument!r}"


ENVIRONMENT = PromptEnvironment()
"""The environment of every prompt."""

GLOBALS = MappingProxyType(ENVIRONMENT.globals)
"""Names every template sees: ``range``."""
