"""The files of a folder or a glob: in order, without hidden ones, safe against link loops."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

_WILDCARD = re.compile(r"[*?\[]")


def is_pattern(path: str) -> bool:
    """Tell whether ``path`` has a wildcard (``*``, ``?``, ``[``, ``**``)."""
    return _WILDCARD.search(path) is not None


def files_within(folder: Path, depth: int | None = None) -> Iterator[str]:
    """Give the files below ``folder``, as names relative to it with slashes.

    Hidden files and folders are left out. Links are followed; a folder is entered once.

    Args:
        folder: where to start.
        depth: how many folders deep to look, 1 for the folder itself; None for all.

    Raises:
        OSError: a folder cannot be listed.
    """
    entered = {os.path.realpath(folder)}
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        inside = Path(root).relative_to(folder)
        folders[:] = [
            name
            for name in sorted(folders)
            if _is_visible(name) and _enter_once(f"{root}/{name}", entered)
        ]
        if depth is not None and len(inside.parts) + 1 >= depth:
            folders.clear()
        yield from ((inside / name).as_posix() for name in sorted(names) if _is_visible(name))


def files_matching(pattern: Path) -> tuple[Path, list[str]]:
    """Give a glob's fixed folder and the files below it that match, as names relative to it.

    ``*`` and ``?`` match within one name, ``**`` any number of folders. Hidden files match only
    where their folder is written out.

    Raises:
        OSError: a folder cannot be listed.
    """
    parts = pattern.parts
    first = next(
        index
        for index, part in enumerate(parts)
        if is_pattern(part) and not Path(*parts[: index + 1]).exists()
    )
    folder, wanted = Path(*parts[:first]), parts[first:]
    if not folder.is_dir():
        return folder, []
    depth = None if "**" in wanted else len(wanted)
    return folder, [name for name in files_within(folder, depth) if _matches(name, wanted)]


def _matches(name: str, wanted: tuple[str, ...]) -> bool:
    """Match a name's parts one by one; ``**`` stands for any number of folders."""
    return _parts_match(tuple(name.split("/")), wanted)


def _parts_match(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    if not wanted or not parts:
        return not wanted and not parts
    if wanted[0] == "**":
        rest = wanted[1:] or ("*",)
        return any(_parts_match(parts[skipped:], rest) for skipped in range(len(parts)))
    return fnmatchcase(parts[0], wanted[0]) and _parts_match(parts[1:], wanted[1:])


def _is_visible(name: str) -> bool:
    return not name.startswith(".")


def _enter_once(folder: str, entered: set[str]) -> bool:
    real = os.path.realpath(folder)
    if real in entered:
        return False
    entered.add(real)
    return True


def _raise(error: OSError) -> None:
    raise error
