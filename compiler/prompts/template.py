"""A prompt template: its parts, the variables each newly needs, and how it is rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Any, NoReturn, cast

import jinja2
from jinja2 import TemplateSyntaxError, UndefinedError, nodes
from jinja2.exceptions import SecurityError

from teola.compiler.prompts.budget import Budget, PromptContext
from teola.compiler.prompts.environment import ENVIRONMENT, GLOBALS
from teola.compiler.prompts.errors import PromptError
from teola.compiler.prompts.metering import metered
from teola.compiler.prompts.restrictions import check_restrictions
from teola.compiler.prompts.scope import free_names
from teola.compiler.prompts.syntax import explained
from teola.compiler.prompts.values import enter


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a prompt, in order: ``needs`` are the variables no part before it needed."""

    needs: frozenset[str]
    line: int


class Template:
    """A prompt template over plain data.

    Parts are the children of the template's top-level ``Output`` nodes and its other top-level
    nodes: rendering the first n parts gives a prefix of the rendered text.

    Raises:
        PromptError: the template is not valid Jinja, or uses what prompts may not.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._nodes = _parse(source)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts in order."""
        bound: set[str] = set()
        seen: set[str] = set()
        parts = []
        for node in self._nodes:
            new = {name.name for name in free_names(node, bound)} - seen
            seen |= new
            parts.append(Part(frozenset(new), node.lineno))
        return tuple(parts)

    @cached_property
    def variables(self) -> Mapping[str, int]:
        """Every variable the template needs, in order of first use -> the line of that use."""
        bound: set[str] = set()
        found: dict[str, int] = {}
        for node in self._nodes:
            for name in free_names(node, bound):
                found.setdefault(name.name, name.lineno)
        return found

    def render(self, values: Mapping[str, object], budget: Budget | None = None) -> str:
        """The text for ``values``: plain data; variables that the template does not use are left
        alone. Safe to call from several threads; ``budget`` bounds what it may do.

        Raises:
            BudgetError: it does more than the budget allows.
            PromptError: a variable, key or item is missing, or something cannot be printed; with
                the template's line.
        """
        used = {name: values[name] for name in self.variables if name in values}
        return _render(self._compiled, used, budget or Budget())

    def render_prefix(
        self, count: int, values: Mapping[str, object], budget: Budget | None = None
    ) -> str:
        """The text of the first ``count`` parts; only their variables are needed.

        Raises:
            BudgetError, PromptError: as ``render``.
        """
        compiled = self._prefixes.get(count)
        if compiled is None:
            compiled = self._prefixes[count] = _compile(self._nodes[:count])
        return _render(compiled, values, budget or Budget())

    def ready_prefix(self, known: frozenset[str]) -> int:
        """How many leading parts need nothing but ``known``."""
        return sum(1 for _ in takewhile(lambda part: part.needs <= known, self.parts))

    @cached_property
    def _compiled(self) -> jinja2.Template:
        return _compile(self._nodes)

    @cached_property
    def _prefixes(self) -> dict[int, jinja2.Template]:
        return {}


@lru_cache(maxsize=4096)
def template(source: str) -> Template:
    """The template of ``source``; parsed and compiled once.

    Raises:
        PromptError: it is not valid.
    """
    return Template(source)


def _parse(source: str) -> tuple[nodes.Node, ...]:
    try:
        tree = ENVIRONMENT.parse(source)
        check_restrictions(tree)
        body = metered(tree).body
    except TemplateSyntaxError as error:
        raise PromptError(explained(error.message or ""), error.lineno) from None
    except (RecursionError, ValueError, OverflowError) as error:
        # ValueError: a number with too many digits
        raise PromptError(f"the template cannot be read: {error}", 1) from None
    parts: list[nodes.Node] = []
    for node in body:
        parts.extend(node.nodes if isinstance(node, nodes.Output) else (node,))
    return tuple(parts)


def _compile(parts: Sequence[nodes.Node]) -> jinja2.Template:
    body = [nodes.Output([p], lineno=p.lineno) if isinstance(p, nodes.Expr) else p for p in parts]
    tree = nodes.Template(body, lineno=1)
    tree.set_environment(ENVIRONMENT)
    try:
        return ENVIRONMENT.from_string(tree)
    except TemplateSyntaxError as error:
        raise PromptError(explained(error.message or ""), error.lineno) from None
    except (SyntaxError, RecursionError) as error:  # Python's own limits, on what Jinja made of it
        raise PromptError(f"the template nests too deeply: {error}", 1) from None


def _render(compiled: jinja2.Template, values: Mapping[str, object], budget: Budget) -> str:
    entered: dict[str, Any] = {name: enter(value, name) for name, value in values.items()}
    try:
        return _text(compiled, entered, budget)
    except PromptError as error:
        error.line = error.line or _line(error)
        raise
    except UndefinedError as error:
        _fail(f"{error.message}", error)
    except SecurityError as error:
        _fail(f"prompts may not do this: {error}", error)
    except Exception as error:  # noqa: BLE001 - what a template computes may raise anything
        _fail(f"{type(error).__name__}: {error}", error)


def _text(compiled: jinja2.Template, entered: dict[str, Any], budget: Budget) -> str:
    """As Jinja's ``render``, with a budget in the context."""
    context = cast("PromptContext", compiled.new_context({**GLOBALS, **entered}, shared=True))
    context.budget = budget
    try:
        return "".join(compiled.root_render_func(context))
    except Exception:  # noqa: BLE001 - raised again, with the template's lines in its traceback
        ENVIRONMENT.handle_exception()


def _fail(message: str, error: Exception) -> NoReturn:
    raise PromptError(message, _line(error)) from error


def _line(error: BaseException) -> int | None:
    """The template's line: Jinja's rewritten traceback has it."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
