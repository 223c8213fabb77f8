"""The one sandboxed, strict Jinja environment of prompts."""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any

from jinja2 import StrictUndefined, Undefined, pass_context
from jinja2.runtime import LoopContext
from jinja2.sandbox import MAX_RANGE, ImmutableSandboxedEnvironment

from teola.compiler.prompts.budget import PromptContext
from teola.compiler.prompts.errors import PromptError
from teola.compiler.prompts.filters import FILTERS, TESTS
from teola.compiler.prompts.values import as_text, printed

MAX_NUMBER_BITS = 4096


@pass_context
def _finalized(context: PromptContext, value: Any) -> Any:
    """Taking the context keeps Jinja from printing constants while it compiles."""
    text = printed(value)
    if isinstance(text, str):
        context.budget.write(len(text))
    return text


def _range(*args: int) -> range:
    """``range``, of a length that can be looped over."""
    numbers = range(*args)
    try:
        length = f"{len(numbers):,}"
        short = len(numbers) <= MAX_RANGE
    except OverflowError:  # a length that Python's own len() cannot give
        length, short = "far more", False
    if not short:
        raise PromptError(f"`range` gives at most {MAX_RANGE:,} numbers here, not {length}")
    return numbers


_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operators.eq,
    "ne": operators.ne,
    "lt": operators.lt,
    "lteq": operators.le,
    "gt": operators.gt,
    "gteq": operators.ge,
}


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """Jinja as prompts may use it: no loader, no Python attributes, no methods, nothing random, and
    nothing that can run for ever or fill the memory."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})
    context_class = PromptContext

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
        self.globals = {"range": _range}
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)

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

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Numbers are reckoned with; texts and lists are added, but not repeated."""
        sides = (left, right)
        if all(isinstance(side, (int, float)) for side in sides):
            if any(isinstance(s, int) and s.bit_length() > MAX_NUMBER_BITS for s in sides):
                raise PromptError(f"numbers in prompts have at most {MAX_NUMBER_BITS} bits")
        elif operator == "+":
            for side in sides:
                context.budget.taken(side)
        elif not any(isinstance(side, Undefined) for side in sides):
            raise PromptError(f"`{operator}` is for numbers")
        return self.binop_table[operator](left, right)

    def looped(self, context: PromptContext, value: Any) -> Any:
        """What a loop goes through."""
        return context.budget.looped(value)

    def cut(self, context: PromptContext, value: Any) -> Any:
        """A slice, or arguments given as a list."""
        return context.budget.taken(value)

    def seen(self, context: PromptContext, value: Any) -> Any:
        """What is compared with something else."""
        context.budget.read(value)
        return value

    def joined(self, context: PromptContext, *values: Any) -> str:
        """Texts joined by ``~``."""
        texts = [str(as_text(value)) for value in values]
        context.budget.write(sum(map(len, texts)))
        return "".join(texts)

    def compared(self, context: PromptContext, how: str, left: Any, right: Any) -> Any:
        """``left == right`` and its kin."""
        if how in ("in", "notin"):
            found = left in context.budget.search(right)
            return found if how == "in" else not found
        context.budget.compare(left, right)
        return _COMPARISONS[how](left, right)


def _absent(obj: Any, argument: Any) -> str:
    if isinstance(obj, Mapping):
        have = ", ".join(map(str, islice(obj, 12))) or "nothing"
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
