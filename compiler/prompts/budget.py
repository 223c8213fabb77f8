"""How much one rendering may do: a prompt is a text for a model, not a program that never ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jinja2.runtime import Context

from teola.compiler.prompts.errors import BudgetError

MAX_STEPS = 1_000_000
"""Loop steps of one rendering; filters and comparisons count each item they look at."""

MAX_CHARACTERS = 50_000_000
"""Characters that one rendering prints, makes and reads on the way."""

_CONTAINERS = (list, tuple, Mapping)


class Budget:
    """Steps and characters that are left of one rendering; each method raises `BudgetError` where
    they do not suffice."""

    __slots__ = ("characters", "max_characters", "max_steps", "steps")

    def __init__(self, steps: int = MAX_STEPS, characters: int = MAX_CHARACTERS) -> None:
        self.steps = self.max_steps = steps
        self.characters = self.max_characters = characters

    def step(self, count: int = 1) -> None:
        """``count`` items are looked at."""
        self.steps -= count
        if self.steps < 0:
            raise BudgetError(
                f"the prompt takes more than {self.max_steps:,} loop steps (items that its loops, "
                "filters and comparisons look at): loop over less"
            )

    def write(self, count: int) -> None:
        """``count`` characters are made or read."""
        self.characters -= count
        if self.characters < 0:
            raise BudgetError(
                f"the prompt makes more than {self.max_characters:,} characters of text: "
                "print, join or repeat less"
            )

    def taken(self, value: Any) -> Any:
        """``value``, to be gone through once; what comes one by one is counted as it comes."""
        if isinstance(value, str):
            self.write(len(value))
        elif isinstance(value, (*_CONTAINERS, range)):
            self.step(len(value))
        elif isinstance(value, Iterator):
            return self._counted(value)
        return value

    def looped(self, value: Any) -> Any:
        """``value``, to be looped over."""
        if isinstance(value, str):
            self.step(len(value))
            return value
        return self.taken(value)

    def _counted(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.step()
            yield value

    def read(self, value: Any) -> None:
        """``value`` is looked at with all that is in it."""
        for item in _tree(value):
            self.step()
            if isinstance(item, str):
                self.write(len(item))

    def compare(self, left: Any, right: Any) -> None:
        """Two values are compared: no further than the smaller one goes."""
        if isinstance(left, str) and isinstance(right, str):
            self.write(min(len(left), len(right)))
        elif isinstance(left, _CONTAINERS) and isinstance(right, _CONTAINERS):
            for one, other in zip(_tree(left), _tree(right), strict=False):
                self.step()
                if isinstance(one, str) and isinstance(other, str):
                    self.write(min(len(one), len(other)))

    def search(self, container: Any) -> Any:
        """``container``, to be searched for something."""
        if isinstance(container, (str, list, tuple)):
            self.read(container)
            return container
        return self._counted(container) if isinstance(container, Iterator) else container


def _tree(value: Any) -> Iterator[Any]:
    """A value, and everything in it."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        yield item
        if isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)


class PromptContext(Context):
    """The variables of one rendering, and its budget."""

    budget: Budget
