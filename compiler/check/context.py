"""What the checks of one file share: the tree, the problems, and what was declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teola.compiler.diagnostics import Diagnostics
from teola.compiler.graph.module_graph import Binding
from teola.compiler.graph.pgraph import Json
from teola.compiler.modules.definition import ModuleDefinition, Prompt, Settings
from teola.compiler.source import LocatedTree, Span, TreePath
from teola.compiler.types import Type


@dataclass(frozen=True)
class DeclaredInput:
    """An input of the workflow; ``type`` is None where its declaration is not valid."""

    name: str
    type: Type | None
    default: tuple[Json] | None = None
    description: str = ""


@dataclass
class Draft:
    """A module while it is checked. What is None could not be found out: a problem was reported,
    and nothing that builds on it reports another."""

    id: str
    entry: Mapping[str, Any]
    index: int
    definition: ModuleDefinition | None = None
    settings: Settings | None = None
    outputs: Mapping[str, Type] | None = None
    bindings: dict[str, Binding] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    braced: dict[str, Span] = field(default_factory=dict)
    """Names that its prompts write in single braces, as text, and where."""
    sound: bool = True
    """Whether its settings agree with each other."""

    @property
    def path(self) -> TreePath:
        """Where it stands in the file."""
        return ("modules", self.id)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """The map under ``inputs`` or ``with``; empty where there is none."""
        found = self.entry.get(key)
        return found if isinstance(found, Mapping) else {}


@dataclass
class Context:
    """One check of one file."""

    tree: LocatedTree
    diagnostics: Diagnostics
    data: Mapping[str, Any]
    inputs: dict[str, DeclaredInput] = field(default_factory=dict)
    modules: dict[str, Draft] = field(default_factory=dict)
    engines: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    mentioned: set[str] = field(default_factory=set)
    """Workflow inputs that something refers to."""

    def section(self, key: str) -> Mapping[str, Any]:
        """A top-level map of the file; empty where there is none."""
        found = self.data.get(key)
        return found if isinstance(found, Mapping) else {}

    def error(
        self,
        code: str,
        message: str,
        path: TreePath,
        *,
        key: bool = False,
        notes: Sequence[str] = (),
        help: str | None = None,
    ) -> None:
        """Report a problem of the value at ``path`` (of its key, where ``key``)."""
        self.diagnostics.error(code, message, self.span(path, key=key), notes=notes, help=help)

    def lint(
        self,
        code: str,
        message: str,
        path: TreePath,
        *,
        key: bool = False,
        notes: Sequence[str] = (),
        help: str | None = None,
    ) -> None:
        """Report what is allowed but probably not meant."""
        self.diagnostics.warning(code, message, self.span(path, key=key), notes=notes, help=help)

    def span(self, path: TreePath, *, key: bool = False) -> Span:
        """Where the value (or key) at ``path`` stands."""
        return self.tree.key_span(path) if key else self.tree.value_span(path)

    def place(self, path: TreePath) -> str:
        """``file:line:column`` of the key at ``path``: for notes."""
        span = self.tree.key_span(path)
        return f"{span.source.name}:{span.line}:{span.column}"


def listed(words: Sequence[str] | Mapping[str, object]) -> str:
    """The words, for a message; said so where there are none."""
    return ", ".join(words) or "none"
