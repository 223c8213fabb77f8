"""Values in flight: cells that grow and end, and the operands that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from teola.compiler.graph.pgraph import Json
from teola.runtime.errors import RunError
from teola.runtime.keys import Key, of_port


class Cell:
    """One output port of one run: a value, or a list that grows item by item and then ends.

    ``items`` is the list so far (list ports only), ``value`` the whole once ``done``. Text ports
    pass on deltas to ``on_text`` while they are decoded. ``readers`` counts the consumers still
    to come: at zero the value is dropped, unless ``pinned``. ``length`` is that of a list that has
    ended, dropped or not. ``owner`` is the content key of the run that it is the ``port`` of, or
    its own where it is none.
    """

    __slots__ = (
        "done",
        "dropped",
        "followers",
        "items",
        "length",
        "on_done",
        "on_growth",
        "on_text",
        "owner",
        "pinned",
        "port",
        "readers",
        "text",
        "value",
    )

    def __init__(self, owner: Key | None = None, is_list: bool = False, port: str = "") -> None:
        self.owner, self.port = owner, port
        self.items: list[Any] | None = [] if is_list else None
        self.length: int | None = None
        self.value: Any = None
        self.done = False
        self.dropped = False
        self.pinned = False
        self.readers = 0
        self.text = ""
        self.on_done: tuple[Callable[[], None], ...] = ()
        self.on_growth: tuple[Callable[[], None], ...] = ()
        self.on_text: tuple[Callable[[str], None], ...] = ()
        self.followers: tuple[Cell, ...] = ()

    @property
    def key(self) -> Key | None:
        """Its content key: made where it is asked for, most are not."""
        return of_port(self.owner, self.port) if self.owner and self.port else self.owner

    def extend(self, items: list[Any]) -> None:
        """Add items to a list port."""
        if self.items is None:
            raise RunError("internal: items for a port that is no list")
        if items:
            self.items.extend(items)
            for listener in self.on_growth:
                listener()

    def add_text(self, text: str) -> None:
        """Pass on more of a text port's value."""
        if not text:
            return
        self.text += text
        for listener in self.on_text:
            listener(text)
        for follower in self.followers:
            follower.add_text(text)

    @property
    def text_read(self) -> bool:
        """Whether a reader of deltas has seen the text so far."""
        return bool(self.on_text) or any(follower.text_read for follower in self.followers)

    def forget_text(self) -> None:
        """The text so far does not count: it will be decoded again."""
        self.text = ""
        for follower in self.followers:
            follower.forget_text()

    def end(self, value: Any = None) -> None:
        """Complete the port; a list port's value is its items. Of a text, what no delta has passed
        on yet leaves now."""
        if self.on_text and isinstance(value, str) and value.startswith(self.text):
            self.add_text(value[len(self.text) :])
        if self.items is not None:
            value, self.length = self.items, len(self.items)
        self.value = value
        self.done = True
        listeners = (*self.on_growth, *self.on_done)
        self.on_growth, self.on_done, self.on_text, self.followers = (), (), (), ()
        for listener in listeners:
            listener()

    def pass_text(self, other: Cell) -> None:
        """What is decoded here leaves through ``other`` too, from the beginning."""
        other.add_text(self.text)
        self.followers += (other,)

    def release(self) -> None:
        """One consumer is done."""
        self.readers -= 1
        if self.readers <= 0 and self.done and not self.pinned:
            self.value, self.items, self.dropped = None, None, True


def constant(value: Any, key: Key | None = None) -> Cell:
    """A cell that is complete from the start and never dropped."""
    cell = Cell(key)
    cell.value, cell.done, cell.pinned = value, True, True
    if isinstance(value, list):
        cell.items = value
    return cell


class Source:
    """An operand as a run sees it: a cell, and the fields to walk inside its value."""

    __slots__ = ("cell", "default", "fields", "stream")

    def __init__(
        self,
        cell: Cell,
        fields: tuple[str, ...] = (),
        stream: bool = False,
        default: tuple[Json] | None = None,
    ) -> None:
        self.cell, self.fields, self.stream, self.default = cell, fields, stream, default

    def get(self) -> Any:
        """The whole value.

        Raises:
            RunError: a field is absent and there is no default.
        """
        value = self.cell.value
        for name in self.fields:
            if not isinstance(value, Mapping) or name not in value:
                if self.default is not None:
                    return self.default[0]
                have = ", ".join(map(str, value)) if isinstance(value, Mapping) else "no fields"
                raise RunError(f"the value has no field '{name}' (it has: {have})")
            value = value[name]
        return value
