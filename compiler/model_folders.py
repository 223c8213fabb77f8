"""Folders with models (an engine's ``path``): where they are, and whether a model is in them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from teola.compiler.diagnostics import Diagnostics
from teola.compiler.located import Span
from teola.compiler.spelling import nearest

NEEDED = ("config.json", "tokenizer.json")
WEIGHTS = (".safetensors", ".bin")
MAX_NAMED = 8
"""Names of a folder that are listed."""


def located(path: str, base: Path) -> Path:
    """The absolute path of ``path``, which is relative to ``base``; ``~`` is the user's folder."""
    given = Path(path)
    with suppress(RuntimeError):  # there is no such user: a folder of that name then
        given = given.expanduser()
    return Path(os.path.normpath(base.absolute() / given))


def check_folder(path: str, folder: Path, span: Span, diagnostics: Diagnostics) -> None:
    """Report where ``folder``, written as ``path``, is not there or holds no model."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except (OSError, ValueError) as error:
        _unreadable(path, folder, error, span, diagnostics)
        return
    missing = [name for name in NEEDED if name not in names]
    if not any(name.endswith(WEIGHTS) for name in names):
        missing.append("weights (*.safetensors)")
    if missing:
        diagnostics.error(
            "not-a-model",
            f"the folder {path!r} holds no model: it has no {', no '.join(missing)}",
            span,
            notes=[_listed("it holds", names)],
        )


def _unreadable(
    path: str, folder: Path, error: OSError | ValueError, span: Span, diagnostics: Diagnostics
) -> None:
    if isinstance(error, NotADirectoryError) and folder.is_file():
        message, notes = f"{path!r} is a file; a model is a folder", ()
    elif isinstance(error, PermissionError):
        message, notes = f"the folder {path!r} cannot be read: you have no leave", ()
    else:
        diagnostics.error(
            "missing-folder",
            f"there is no folder {path!r}",
            span,
            notes=["paths are relative to the workflow file; with --set, to the current folder"],
            help=_nearest(path, folder),
        )
        return
    diagnostics.error("not-a-model", message, span, notes=notes)


def _nearest(path: str, folder: Path) -> str | None:
    """What in the folder around may have been meant."""
    try:
        beside = sorted(entry.name for entry in folder.parent.iterdir() if entry.is_dir())
    except (OSError, ValueError):
        return None
    near = nearest(folder.name, beside)
    return f"did you mean {str(Path(path).parent / near)!r}?" if near else None


def _listed(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:MAX_NAMED]) or "nothing"
    more = len(names) - MAX_NAMED
    return f"{what}: {shown}" + (f" and {more} more" if more > 0 else "")
