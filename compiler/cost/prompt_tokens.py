"""How many tokens a prompt has, how many of them come before a part that is not known yet, and how
many an engine has cached that has served the workflow before.

Given by the sizes, or estimated: the prompt is rendered for stand-ins of the right lengths, four
characters a token. Where a template needs more than a stand-in has, its own text and its variables
are added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from math import ceil, prod

from teola.compiler.cost.costs import priced
from teola.compiler.cost.fixed_heads import fixed_characters
from teola.compiler.cost.shapes import CHARACTERS, Shape, Shapes
from teola.compiler.cost.stand_ins import stand_in
from teola.compiler.graph.pgraph import Primitive
from teola.compiler.prompts import PromptError, template

CHAT = 16
"""Tokens of the chat template around a prompt's messages, most of them before the first."""

UNSURE = 8
"""So many tokens before the first unknown one may come out differently once it is known: they are
not warmed up."""

LONGEST = 4_000_000
"""Characters of the longest prompt that is rendered to be measured."""


class PromptTokens:
    """The prompts of one graph's calls."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self._whole: dict[str, int] = {}
        self._fixed: dict[str, int] = {}

    def whole(self, call: Primitive) -> int:
        """The tokens of a call's prompt."""
        return self.shapes.sizes.tokens.get(call.id, self._estimate(call))

    def _estimate(self, call: Primitive) -> int:
        if call.id not in self._whole:
            self._whole[call.id] = self._count(call, frozenset(call.inputs))
        return self._whole[call.id]

    def prefix(self, call: Primitive, known: frozenset[str]) -> int:
        """The tokens of a call's prompt before the first part that needs more than ``known``."""
        return self._share(call, self._count(call, known))

    def _share(self, call: Primitive, counted: int) -> int:
        """What is ``counted`` of the estimate, of the prompt as long as it is."""
        estimate = self._estimate(call)
        return int(min(estimate, counted) / max(1, estimate) * self.whole(call))

    def warmed(self, call: Primitive, known: frozenset[str]) -> int:
        """What a warm-up leaves of that prefix in the engine's cache: whole pages, where its
        settings have any."""
        tokens, page = self.prefix(call, known), self.page(call)
        return max(0, tokens - UNSURE) // page * page if page else tokens

    def cached(self, call: Primitive) -> int:
        """What an engine that has served the workflow before has of a prompt in its cache, where
        its settings say that it keeps one: the whole pages of the prompt's fixed head."""
        page = self.page(call)
        if not page:
            return 0
        if call.id not in self._fixed:
            fixed = fixed_characters(call, self.shapes)
            self._fixed[call.id] = 0 if fixed is None else CHAT + ceil(fixed / CHARACTERS)
        known = min(self._share(call, self._fixed[call.id]), self.whole(call) - 1)
        return max(0, known) // page * page

    def page(self, call: Primitive) -> int:
        """The tokens of one page of the KV cache; 0 where the engine's settings do not say."""
        settings = priced(self.shapes.graph.engines.get(call.engine or "", {}))
        pages = (settings.get(name) for name in ("kv_page_tokens", "block_size"))
        return next((page for page in pages if isinstance(page, int) and page > 0), 0)

    def _count(self, call: Primitive, known: frozenset[str]) -> int:
        values = {name: self.shapes.of(call.inputs[name]) for name in known if name in call.inputs}
        return CHAT + ceil(sum(_characters(call, values)) / CHARACTERS)


def _characters(call: Primitive, values: Mapping[str, Shape]) -> Iterator[int]:
    """The characters of each message, up to the first part that needs more than ``values``."""
    messages = call.config.get("messages")
    for entry in messages if isinstance(messages, Sequence) else ():
        if not isinstance(entry, dict):
            continue
        if "splice" in entry:
            shape = values.get(str(entry["splice"]))
            if shape is None:
                return
            yield _length(shape)
            continue
        source = str(entry.get("template"))
        try:
            parts = template(source).parts
        except PromptError:
            yield len(source)
            continue
        ready = list(takewhile(lambda part: part.needs <= values.keys(), parts))
        yield _rendered(source, len(ready), len(parts), values)
        if len(ready) < len(parts):
            return


def _rendered(source: str, ready: int, parts: int, values: Mapping[str, Shape]) -> int:
    made = template(source)
    used = {name: values[name] for name in made.variables if name in values}
    if sum(_length(shape) + prod(shape.dims) for shape in used.values()) <= LONGEST:
        stand_ins = {name: stand_in(shape, shape.dims) for name, shape in used.items()}
        try:
            if ready == parts:
                return len(made.render(stand_ins))
            return len(made.render_prefix(ready, stand_ins))
        except PromptError:  # a stand-in lacks what the template looks for
            pass
    needed: frozenset[str] = frozenset().union(*(part.needs for part in made.parts[:ready]))
    own = len(source) * ready // max(1, parts)
    return own + sum(_length(used[name]) for name in needed if name in used)


def _length(shape: Shape) -> int:
    return CHARACTERS * prod(shape.dims) * shape.tokens
