"""Profiles: what an operation costs on an engine, as a file (``teola.profile/1``).

A profile is a list of entries. An entry is for one operation on the engines whose settings have
all the values that the entry names; of several that fit, the one that names most counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from teola.compiler.cost.curve import Curves, curves
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import Json

SCHEMA = "teola.profile/1"
SHIPPED = ("embedded.json", "structural.json")
"""The profiles that come with the compiler, the measured one first."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Point(_Model):
    """One measurement: the median of ``runs`` batches of ``items`` items of ``tokens`` tokens."""

    items: Annotated[int, Field(ge=1)]
    tokens: Annotated[float, Field(ge=0, description="Tokens of one item")]
    ms: Annotated[float, Field(ge=0)]
    runs: Annotated[int, Field(ge=1)] = 1


class Entry(_Model):
    """What one operation costs on one engine.

    A batch of n items of t tokens each takes ``base_ms + n * (item_ms + t * token_ms)``; where
    there are ``points``, what was measured counts, and the line says how it goes on beyond them.
    For ``decode`` that is one step of n sequences whose contexts have t tokens. ``knee`` is the
    smallest batch from which a bigger one hardly raises the throughput. ``origin``: measured, or
    structural, a rough figure that only says what is dear and what is cheap.
    """

    operation: str
    engine: Annotated[
        dict[str, JsonValue], Field(description="Settings that an engine must have for this entry")
    ] = {}
    origin: Literal["measured", "structural"] = "measured"
    knee: Annotated[int, Field(ge=1)]
    base_ms: Annotated[float, Field(ge=0)]
    item_ms: Annotated[float, Field(ge=0)]
    token_ms: Annotated[float, Field(ge=0)] = 0.0
    points: tuple[Point, ...] = ()

    def latency_ms(self, items: float, tokens: float = 0.0) -> float:
        """Milliseconds of one batch of ``items`` items of ``tokens`` tokens each."""
        return self.batch_ms(items, items * self.added_ms(tokens))

    def batch_ms(self, items: float, added_ms: float) -> float:
        """Milliseconds of one batch of ``items`` items that add so much (``added_ms``)."""
        return self.scale(items) * (self.base_ms + added_ms)

    def added_ms(self, tokens: float) -> float:
        """What an item of so many tokens adds to a batch."""
        line = self.item_ms + tokens * self.token_ms
        if self._curves is None:
            return line
        added = self._curves.added
        last = added.x[-1]
        if tokens <= last:
            return added.at(tokens)
        rate = added.y[-1] / last if last else 0.0
        return added.y[-1] + (tokens - last) * max(self.token_ms, rate)

    def scale(self, items: float) -> float:
        """By how much more, or less, a batch of ``items`` takes than they add up to."""
        return 1.0 if self._curves is None else self._curves.scale.at(items)

    def least_scale(self, most: int) -> float:
        """The least scale of batches of at most ``most`` items."""
        if self._curves is None:
            return 1.0
        scale = self._curves.scale
        ends = scale.at(1), scale.at(most)
        return min(*ends, *(y for x, y in zip(scale.x, scale.y, strict=True) if x <= most))

    def least_ms(self, tokens: float, together: int, most: int) -> float:
        """What an item takes at least, where ``together`` of its like can be in a batch, which has
        at most ``most`` items."""
        added = self.added_ms(tokens)
        if self._curves is None:
            return self.base_ms / together + added
        sizes = range(1, max(most, together) + 1)
        return min(self.scale(n) * (self.base_ms / min(n, together) + added) for n in sizes)

    @cached_property
    def least_token_ms(self) -> float:
        """What one more token of an item adds at least."""
        if self._curves is None:
            return self.token_ms
        x, y = self._curves.added.x, self._curves.added.y
        return min(
            ((y[n + 1] - y[n]) / (x[n + 1] - x[n]) for n in range(len(x) - 1)),
            default=self.token_ms,
        )

    @cached_property
    def _curves(self) -> Curves | None:
        measured = {(one.items, one.tokens): one.ms for one in self.points if one.ms}
        return curves(measured, self.base_ms, self.item_ms) if measured else None


class ProfileFile(_Model):
    """A profile file."""

    schema_: Annotated[Literal["teola.profile/1"], Field(alias="schema")]
    machine: Annotated[str, Field(description="What it was measured on")] = ""
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Profiles:
    """The entries that a compilation uses, those that count first standing first."""

    entries: tuple[Entry, ...]
    digest: str

    @cached_property
    def _by_operation(self) -> Mapping[str, Sequence[Entry]]:
        """The entries of each operation, those that count first standing first."""
        found: dict[str, list[Entry]] = {}
        for entry in sorted(self.entries, key=_weight, reverse=True):
            found.setdefault(entry.operation, []).append(entry)
        return found

    def entry(self, operation: str, engine: Mapping[str, Json] | None) -> Entry | None:
        """The entry for an operation on an engine (None: on none); None where there is none."""
        settings = engine or {}
        for entry in self._by_operation.get(operation, ()):
            if all(key in settings and settings[key] == entry.engine[key] for key in entry.engine):
                return entry
        return None


def _weight(entry: Entry) -> tuple[bool, int]:
    return entry.origin == "measured", len(entry.engine)


def load_profiles(path: Path | None = None) -> Profiles:
    """The shipped profiles, and before them the one in the file ``path``.

    Raises:
        CompileError: the file cannot be read or is no profile; the message says where.
    """
    shipped = _shipped()
    if path is None:
        return shipped
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CompileError(
            f"{path}: the profile cannot be read: {reason}; `teola profile … -o {path}` writes one"
        ) from error
    own = read_profile(text, str(path)).entries
    digest = hashlib.sha256((text + shipped.digest).encode()).hexdigest()
    return Profiles(own + shipped.entries, digest)


def read_profile(text: str, name: str) -> ProfileFile:
    """Read a profile from its text; ``name`` stands in messages.

    Raises:
        CompileError: it is no profile.
    """
    try:
        return ProfileFile.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CompileError(f"{name}: not a valid profile at {where}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise CompileError(f"{name}: not a profile file: {error}") from error


@lru_cache(maxsize=1)
def _shipped() -> Profiles:
    texts = [files("teola.compiler.cost").joinpath(name).read_text("utf-8") for name in SHIPPED]
    read = [read_profile(text, name) for text, name in zip(texts, SHIPPED, strict=True)]
    entries = tuple(entry for file in read for entry in file.entries)
    return Profiles(entries, hashlib.sha256("".join(texts).encode()).hexdigest())
