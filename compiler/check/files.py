"""Files that a workflow names: inside its own folder tree."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from teola.compiler.check.context import Context
from teola.compiler.errors import CompileError
from teola.compiler.source import Source, TreePath

MAGIC = "*?["
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(name: str) -> bool:
    """Whether a document is named by where it is on the web, not by a file."""
    return URL.match(name) is not None


def folder_of(context: Context) -> Path | None:
    """The folder of the workflow file; None where it is not a file."""
    path = Path(context.tree.source.name)
    try:
        return path.resolve().parent if path.is_file() else None
    except (OSError, ValueError):
        return None


def is_inside(context: Context, path: TreePath, name: str) -> bool:
    """Whether a relative path stays inside the folder tree; a problem is reported where not."""
    normal = Path(os.path.normpath(name))
    outside = PurePosixPath(name).is_absolute() or Path(name).is_absolute() or name.startswith("~")
    if outside or normal.parts[:1] == (os.pardir,) or "\0" in name:
        context.error(
            "outside-folder",
            f"{name!r} is not inside the workflow's folder",
            path,
            help="give a path relative to the workflow file, below its folder",
        )
        return False
    folder = folder_of(context)
    if folder is not None and not (folder / normal).resolve().is_relative_to(folder):
        context.error(
            "outside-folder", f"{name!r} leads out of the workflow's folder by a link", path
        )
        return False
    return True


def check_document(context: Context, path: TreePath, name: str) -> None:
    """A default document exists: a path, a folder, or a glob that finds something."""
    if is_url(name):
        context.error(
            "url-document",
            f"{name!r} is a URL: documents are read from files only, as yet",
            path,
            help="download it first, and name the file",
        )
        return
    if not is_inside(context, path, name):
        return
    folder = folder_of(context)
    if folder is None:
        return
    found = (folder / name).exists()
    if not found and any(sign in name for sign in MAGIC):
        found = next(folder.glob(name), None) is not None
    if not found:
        context.error(
            "missing-file",
            f"there is no file, folder or match for {name!r}",
            path,
            notes=["paths are relative to the workflow file"],
        )


def read_inside(context: Context, path: TreePath, name: str) -> Source | None:
    """Read a file that the value at ``path`` names; problems are reported."""
    if not is_inside(context, path, name):
        return None
    folder = folder_of(context)
    if folder is None:
        context.error(
            "missing-file", "the workflow is not a file: it has no folder to read from", path
        )
        return None
    shown = Path(context.tree.source.name).parent / os.path.normpath(name)
    if not (folder / name).is_file():
        context.error(
            "missing-file",
            f"there is no file {name!r}",
            path,
            notes=["paths are relative to the workflow file"],
        )
        return None
    try:
        source = Source.read(folder / name)
    except CompileError as error:
        context.error("unreadable-file", f"{name!r} cannot be read: {error}", path)
        return None
    return Source(str(shown), source.text)
