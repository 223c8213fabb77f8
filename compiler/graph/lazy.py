"""``lazy``: what a node knows about itself, computed at the first look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801 - used as a decorator
    """``functools.cached_property`` without the lock that it takes in Python 3.11: a compilation
    makes thousands of nodes, and computing one's property twice would do no harm."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, node: object, owner: type) -> T:
        value = vars(node)[self.name] = self.compute(node)
        return value
