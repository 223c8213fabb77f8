"""Where workflows and their document defaults live: files, the packaged gallery, plan folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import InputPort, Json
from teola.compiler.spelling import nearest

PACKAGE = "teola.workflows"
ENDINGS = (".yaml", ".yml", ".plan.json", ".pgraph")
"""How the files are called that can be compiled or run."""
DOCUMENT_TYPES = ("document", "list<document>")


def gallery() -> Path:
    """The folder of the packaged workflows."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CompileError(f"the package {PACKAGE} is not installed: reinstall teola")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def find_workflow(name: str) -> Path:
    """The file that ``name`` means: a path, or the name of a packaged workflow.

    Raises:
        CompileError: there is neither; the message lists the packaged ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    packaged = gallery() / f"{name}.yaml"
    if "/" not in name and packaged.is_file():
        return packaged
    if path.is_dir():
        raise CompileError(f"{name}: a folder; give a workflow file in it")
    packaged_names = sorted(file.stem for file in gallery().glob("*.yaml"))
    beside = {file.name: str(file) for file in path.parent.glob("*") if file.name.endswith(ENDINGS)}
    near = nearest(path.name, [*packaged_names, *sorted(beside)])
    hint = f"; did you mean '{beside.get(near, near)}'?" if near else ""
    have = ", ".join(packaged_names)
    raise CompileError(
        f"{name}: no such file, and no packaged workflow of that name ({have}){hint}"
    )


def rebase_defaults(
    inputs: Sequence[InputPort], base: Path | None, folder: Path | None
) -> list[InputPort]:
    """Document defaults of a workflow in ``base``, as a plan in ``folder`` must name them.

    Packaged files become ``teola.workflows:path``, all others relative to ``folder`` (by default
    the current one), so that a plan holds no absolute path.
    """
    if base is None:
        return list(inputs)
    target = (folder or Path.cwd()).resolve()
    return [
        replace(port, default=(_rebase(port.default[0], base.resolve(), target),))
        if port.default is not None and port.type in DOCUMENT_TYPES
        else port
        for port in inputs
    ]


def _rebase(value: Json, base: Path, folder: Path) -> Json:
    if isinstance(value, list):
        return [_rebase(item, base, folder) for item in value]
    if not isinstance(value, str) or value.startswith(f"{PACKAGE}:") or Path(value).is_absolute():
        return value
    place = Path(os.path.normpath(base / value))
    packaged = gallery()
    if place.is_relative_to(packaged):
        return f"{PACKAGE}:{place.relative_to(packaged).as_posix()}"
    return cast(Json, Path(os.path.relpath(place, folder)).as_posix())
