"""Makes the primitives of one module: what a definition's ``lower`` works with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from teola.compiler.engines import orders_ingest
from teola.compiler.graph.pgraph import Const, Json, Node, Operand, Primitive, Ref, Region
from teola.compiler.modules.definition import Entry, Prompt
from teola.compiler.modules.llm import LLMSettings
from teola.compiler.prompts import template
from teola.compiler.types import Type, conversion

if TYPE_CHECKING:
    from teola.compiler.graph.module_graph import Binding, ModuleNode

TEXT_OUTPUT: dict[str, Json] = {"shape": "text", "on_short": "keep"}


class Build:
    """Collects the nodes of one module, in order; ``ports`` is where every earlier port is,
    ``engines`` are the settings of all engines by name."""

    def __init__(
        self,
        module: ModuleNode,
        ports: Mapping[tuple[str, str], Ref],
        nodes: list[Node],
        engines: Mapping[str, Mapping[str, Json]],
    ) -> None:
        self.module = module
        self.settings = module.settings
        self._ports = ports
        self._nodes = nodes
        self._engines = engines
        self._ids: set[str] = set()
        self._inputs: dict[str, Operand] = {}

    def add(
        self,
        operation: str,
        inputs: Mapping[str, Operand],
        config: Mapping[str, Json] | None = None,
        *,
        engine: str | None = None,
        id: str | None = None,
        region: str = "",
    ) -> str:
        """Add a primitive and return its id: ``<module>.<operation>`` unless ``id`` is given.

        ``engine`` is a kind; the module knows which engine of that kind it runs on.
        """
        module = self.module
        name = self._fresh(id or f"{module.id}.{operation}")
        settings = dict(config) if config else {}
        if engine is not None:
            settings.update(module.control)
        self._nodes.append(
            Primitive(
                name,
                operation,
                inputs,
                settings,
                module.engines[engine] if engine is not None else None,
                module.guard,
                region,
                None,
                module.id,
                module.line,
            )
        )
        return name

    @property
    def orders_ingest(self) -> bool:
        """Whether the module's store must have all that it ingests at once."""
        return orders_ingest(self._engines[self.module.engines["store"]])

    def source(self, operand: Operand, operation: str, name: str) -> Operand | None:
        """The input ``name`` of the primitive that ``operand`` comes from, where it is of that
        ``operation``."""
        nodes = (node for node in self._nodes if isinstance(node, Primitive))
        place = operand.node if isinstance(operand, Ref) else None
        found = next((node for node in nodes if node.id == place), None)
        return found.inputs.get(name) if found and found.operation == operation else None

    def add_region(self, region: Region) -> str:
        """Add a region; its body follows with ``region=<its id>``."""
        self._ids.add(region.id)
        self._nodes.append(region)
        return region.id

    def has(self, name: str) -> bool:
        """Whether the value or further input ``name`` is bound (or has a default)."""
        return name in self.module.inputs

    def input(self, name: str) -> Operand:
        """The operand of a bound value, widened to its declared type where that needs primitives;
        of an unbound one null."""
        if name not in self._inputs:
            binding = self.module.inputs.get(name)
            self._inputs[name] = Const(None) if binding is None else self._bound(binding)
        return self._inputs[name]

    def prepare(self, *prompts: Prompt) -> None:
        """Widen now the inputs that ``prompts`` use: a region's body stands together."""
        for prompt in prompts:
            for name in _names(prompt):
                if name in self.module.inputs:
                    self.input(name)

    def _bound(self, binding: Binding) -> Operand:
        operand = binding.operand
        if isinstance(operand, Const):
            return operand
        if operand.node != "inputs":
            place = self._ports[operand.node, operand.port]
            if operand.fields or operand.default is not None:
                place = Ref(
                    place.node, place.port, place.fields + operand.fields, False, operand.default
                )
            operand = place
        if binding.type is binding.target:
            return operand
        return self._widened(operand, binding.type, binding.target)

    def _widened(self, ref: Ref, source: Type, target: Type) -> Ref:
        for step in conversion(source, target) or ():
            if step == "wrap":
                ref = Ref(self.add("wrap", {"value": ref}), "items")
                continue
            if step == "convert":
                config: dict[str, Json] = {"from": str(source.item), "to": str(target.item)}
                ref = Ref(self.add("convert", {"items": ref}, config), "items")
                continue
            scalar = target
            while scalar.item is not None:
                scalar = scalar.item
            config = {"from": str(source), "to": str(scalar)}
            ref = Ref(self.add("cast", {"value": ref}, config), "value")
        return ref

    def call(
        self,
        prompt: Prompt,
        variables: Mapping[str, Operand] | None = None,
        *,
        id: str | None = None,
        region: str = "",
        output: Mapping[str, Json] = TEXT_OUTPUT,
        count: Operand | None = None,
        exclude: Operand | None = None,
    ) -> str:
        """Add an LLM call, a prefill and its decode, and return the decode's id.

        ``variables`` bind what the module documents for the prompt; all others are inputs.
        """
        settings = self.settings
        if not isinstance(settings, LLMSettings):
            raise TypeError(f"module {self.module.id!r} has no settings for an LLM")
        bound = variables or {}
        used = _names(prompt)
        inputs = {name: bound[name] if name in bound else self.input(name) for name in used}
        config: dict[str, Json] = {
            "messages": [_message(entry) for entry in prompt.entries],
            "sampling": settings.sampling.config(),
            "truncate": settings.truncate if settings.truncate in used else None,
        }
        if settings.adapter is not None:
            config["adapter"] = settings.adapter
        stem = id or self.module.id
        head = self.add(
            "prefill", inputs, config, engine="llm", id=f"{stem}.prefill", region=region
        )
        follow: dict[str, Operand] = {"state": Ref(head, "state")}
        if count is not None:
            follow["count"] = count
        if exclude is not None:
            follow["exclude"] = exclude
        return self.add(
            "decode",
            follow,
            {"output": dict(output)},
            engine="llm",
            id=f"{stem}.decode",
            region=region,
        )

    def _fresh(self, name: str) -> str:
        if name in self._ids:
            number = 2
            while f"{name}_{number}" in self._ids:
                number += 1
            name = f"{name}_{number}"
        self._ids.add(name)
        return name


def _names(prompt: Prompt) -> dict[str, None]:
    """The variables and spliced inputs of a prompt, in order of first use."""
    used: dict[str, None] = {}
    for entry in prompt.entries:
        if entry.splice is not None:
            used[entry.splice] = None
        else:
            used.update(dict.fromkeys(template(entry.template or "").variables))
    return used


def _message(entry: Entry) -> Json:
    if entry.splice is not None:
        return {"splice": entry.splice}
    return {"role": entry.role, "template": entry.template}
