"""The packages in pyproject.toml are the packages in the tree."""

import tomllib
from importlib import metadata

import pytest

from teola.compiler.version import VERSION

FOLDERS = ("compiler", "runtime", "schemas", "workflows")


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_of_the_tree_is_listed(project, project_files):
    """A subpackage that is not listed imports in development and is absent from the wheel."""
    folders = {
        path.parent
        for path in project_files
        if path.parts[0] in FOLDERS and path.suffix == ".py" and "data" not in path.parts
    }
    in_tree = {".".join(("teola", *folder.parts)) for folder in folders}
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(in_tree)


def test_every_package_has_an_init_file(root, project):
    """Without one, importlib.resources fails in an editable install."""
    for name in project["tool"]["setuptools"]["packages"]:
        folder = root.joinpath(*name.split(".")[1:])
        assert (folder / "__init__.py").is_file(), f"{folder} has no __init__.py"


def test_teola_is_a_namespace(root):
    """Other distributions may add teola.* packages: no folder and no __init__.py of that name."""
    assert not (root / "teola").exists()


def test_type_checkers_see_the_mapping(root):
    """mypy reads teola.compiler and teola.runtime through two committed links."""
    for name in ("compiler", "runtime"):
        link = root / ".typings" / "teola" / name
        assert link.is_symlink()
        assert link.resolve() == root / name


def test_installed_version_is_the_compilers():
    """Plans carry the version that `pip show` prints."""
    assert metadata.version("teola") == VERSION


def test_version_is_in_the_changelog(root):
    """Whoever changes the version says what changed."""
    assert f"## [{VERSION}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
