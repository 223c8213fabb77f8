"""Operations on lists that run here."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from teola.compiler.types import parse_type
from teola.compiler.values import coerced
from teola.runtime.operations.base import CpuOperation, Scan, Values

if TYPE_CHECKING:
    from teola.runtime.instance.context import TaskContext

_MENTION = re.compile(r"\[(\d{1,6}(?:\s*,\s*\d{1,6})*)\]")


class Flatten(CpuOperation):
    """A list of lists to one list, in order."""

    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        return {"items": [item for group in inputs["items"] for item in group]}


class Convert(CpuOperation):
    """Each item to a wider type."""

    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        target = parse_type(str(config["to"]))
        return {"items": [coerced(item, target) for item in inputs["items"]]}


class Cast(CpuOperation):
    """One value to a wider type."""

    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        return {"value": coerced(inputs["value"], parse_type(str(config["to"])))}


class Wrap(CpuOperation):
    """One value to the list of it."""

    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        return {"items": [inputs["value"]]}


class Top(CpuOperation):
    """The ``count`` best by (score descending, index); those under ``min_score`` left out."""

    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        least = config.get("min_score")
        items = [item for item in inputs["items"] if least is None or item["score"] >= least]
        items.sort(key=lambda item: -item["score"])
        best = items[: max(0, int(inputs["count"]))]
        return {"items": [{**item, "rank": rank} for rank, item in enumerate(best, 1)]}


class Cited(CpuOperation):
    """The passages that the text mentions as ``[1]`` or ``[1, 2]``, in order of first mention."""

    def compute(self, inputs: Values, config: Values, context: TaskContext) -> dict[str, Any]:
        passages = inputs["passages"]
        numbers = dict.fromkeys(
            int(number)
            for mention in _MENTION.findall(inputs["text"])
            for number in mention.split(",")
        )
        return {"passages": [passages[n - 1] for n in numbers if 1 <= n <= len(passages)]}


def identity(item: Any) -> Hashable:
    """What makes two items the same: a text itself, a chunk's id, else the whole content."""
    if isinstance(item, dict | Mapping) and item.get("id") is not None:
        return ("id", str(item["id"]))
    if isinstance(item, str | int | float | bool) or item is None:
        return item
    return ("json", json.dumps(item, sort_keys=True, default=str))


class Concat(Scan):
    """The inputs one after another, in written order."""

    def __init__(self, config: Values, fixed: Values, inputs: Sequence[str]) -> None:
        self.waiting = {name: [] for name in inputs}  # type: dict[str, list[Any]]
        self.ended: set[str] = set()
        self.order = list(inputs)

    def feed(self, name: str, items: Sequence[Any]) -> list[Any]:
        self.waiting[name].extend(items)
        return self._flush()

    def end(self, name: str) -> list[Any]:
        self.ended.add(name)
        return self._flush()

    def _flush(self) -> list[Any]:
        out: list[Any] = []
        while self.order:
            name = self.order[0]
            out += self.waiting[name]
            self.waiting[name] = []
            if name not in self.ended:
                break
            self.order.pop(0)
        return out


class Distinct(Scan):
    """Each item once, the first of equal ones (texts: equal strings, chunks: equal ids)."""

    def __init__(self, config: Values, fixed: Values, inputs: Sequence[str]) -> None:
        self.seen: set[Hashable] = set()

    def feed(self, name: str, items: Sequence[Any]) -> list[Any]:
        fresh = []
        for item in items:
            mark = identity(item)
            if mark not in self.seen:
                self.seen.add(mark)
                fresh.append(item)
        return fresh


class Take(Scan):
    """``count`` items from ``start`` on (no count: all the rest)."""

    def __init__(self, config: Values, fixed: Values, inputs: Sequence[str]) -> None:
        start = int(config.get("start") or 0)
        count = fixed.get("count", config.get("count"))
        self.start = start
        self.stop = None if count is None else start + int(count)
        self.at = 0

    def feed(self, name: str, items: Sequence[Any]) -> list[Any]:
        low = max(0, self.start - self.at)
        high = None if self.stop is None else max(0, self.stop - self.at)
        self.at += len(items)
        return list(items[low:high])


class Windows(Scan):
    """Lists of ``size`` items one after another; ``keep_empty``: no items give one empty list."""

    def __init__(self, config: Values, fixed: Values, inputs: Sequence[str]) -> None:
        self.size = int(config.get("size", 1))
        self.keep_empty = bool(config.get("keep_empty", False))
        self.rest: list[Any] = []
        self.any = False

    def feed(self, name: str, items: Sequence[Any]) -> list[Any]:
        self.rest += items
        self.any = self.any or bool(items)
        whole = len(self.rest) // self.size * self.size
        out = [self.rest[at : at + self.size] for at in range(0, whole, self.size)]
        self.rest = self.rest[whole:]
        return out

    def end(self, name: str) -> list[Any]:
        if self.rest or (self.keep_empty and not self.any):
            return [self.rest]
        return []
