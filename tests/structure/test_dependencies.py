"""The libraries that Teola imports are the libraries that pyproject.toml declares."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from itertools import chain

import pytest
from packaging.requirements import Requirement

# Libraries that another library loads by name: nothing of ours imports them.
LOADED_BY_OTHERS = {"accelerate", "gguf"}
# Another build of a library, imported by the same name.
BUILDS = {"faiss-gpu": "faiss-cpu"}
# A part of another library's interface that is published under its own name.
PART_OF = {"pydantic-core": "pydantic"}


def normal(name):
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name).group()).lower()


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def declared(project):
    """Names of the base dependencies and of those of the extras for running."""
    extras = {**project["optional-dependencies"], "dev": []}
    return {normal(line) for line in chain(project["dependencies"], *extras.values())}


@pytest.fixture(scope="module")
def imported(root, project_files):
    """What compiler and runtime import, each with one file that does: the distributions that may
    have it, for several can share a namespace."""
    owners = metadata.packages_distributions()
    found = {}
    for path in project_files:
        if path.parts[0] in {"compiler", "runtime"} and path.suffix == ".py":
            for name in top_level_imports((root / path).read_text(encoding="utf-8")):
                names = map(normal, owners.get(name, [name]))
                found.setdefault(frozenset(PART_OF.get(one, one) for one in names), str(path))
    return found


def top_level_imports(text):
    """First parts of the names of third-party modules that ``text`` imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"teola"}


def test_everything_imported_is_declared(imported, declared):
    """A library that only comes along with another one disappears with it."""
    assert {names: path for names, path in imported.items() if not names & declared} == {}


def test_everything_declared_is_used(imported, declared):
    """Nobody installs what nothing needs."""
    used = {BUILDS.get(name, name) for name in declared - LOADED_BY_OTHERS}
    assert used - frozenset().union(*imported) == set()


def test_constraints_agree_with_the_ranges(root, project):
    """The versions that make's environment takes are versions that we declare to work."""
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    ranges = {normal(line): Requirement(line).specifier for group in groups for line in group}
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for line in filter(lambda line: line and not line.startswith("#"), lines):
        constraint = Requirement(line)
        version = next(iter(constraint.specifier)).version
        assert ranges[normal(line)].contains(version), line
