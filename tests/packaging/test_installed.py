"""The wheel works in an environment that holds its base dependencies and nothing else."""

import json

import pytest

IMPORT_ALL = """
import importlib, json, pkgutil, sys
missing = {}
for name in ("teola.compiler", "teola.runtime", "teola.schemas", "teola.workflows"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                missing[module.name] = error.name
print(json.dumps(missing))
"""

PACKAGED = """
from importlib import metadata, resources
assert metadata.version("teola") == "{version}"
for package, suffix in (("teola.workflows", ".yaml"), ("teola.schemas", ".json")):
    names = [entry.name for entry in resources.files(package).iterdir()]
    assert any(name.endswith(suffix) for name in names), (package, names)
"""


def test_every_module_imports(installed):
    """Only what drives an engine on this machine may need more than the base dependencies."""
    missing = json.loads(installed.run("python", "-W", "error", "-c", IMPORT_ALL))
    outside = {
        module: library
        for module, library in missing.items()
        if not module.startswith("teola.runtime.engines.")
    }
    assert outside == {}


@pytest.mark.parametrize("library", ["torch", "transformers", "numpy", "faiss"])
def test_a_plain_install_brings_no_heavy_library(installed, library):
    """The compiler and the command line are small."""
    code = f"import importlib.util; assert importlib.util.find_spec({library!r}) is None"
    installed.run("python", "-c", code)


def test_data_is_found_as_resources(installed, wheel):
    """Workflows and schemas are read through importlib.resources."""
    installed.run("python", "-c", PACKAGED.format(version=wheel.name.split("-")[1]))


def test_help_is_printed(installed):
    """Both commands are installed."""
    assert "check" in installed.run("teola", "--help")
    assert "WORKFLOW" in installed.run("teola-run", "--help").upper()


@pytest.mark.parametrize("workflow", ["naive_rag", "advanced_rag"])
def test_packaged_workflows_are_valid(installed, workflow):
    """They are found by name, without a folder of the project."""
    installed.run("teola", "check", workflow)


def test_packaged_workflows_compile(installed):
    """A plan is written without any engine installed."""
    installed.run("teola", "compile", "naive_rag", "-o", "naive.plan.json")
    plan = json.loads((installed.folder / "naive.plan.json").read_text(encoding="utf-8"))
    assert plan


@pytest.mark.models
def test_an_installed_wheel_answers(installed_beside_engines, tmp_path):
    """In a folder of its own, over its packaged documents, with real models."""
    teola = installed_beside_engines
    origin = teola.run("python", "-c", "import teola.runtime as r; print(r.__file__)", cwd=tmp_path)
    assert origin.startswith(str(teola.folder))
    question = "Does a reader see changes before they are committed?"
    documents = "teola.workflows:data/sqlite/isolation.md"
    words = ("-i", f"question={question}", "-i", f"documents={documents}", "--json")
    result = json.loads(teola.run("teola-run", "naive_rag", *words, cwd=tmp_path))
    assert result["outputs"]["answer"].strip()
    found = result["outputs"]["sources"]
    assert {passage["document"] for passage in found} == {"data/sqlite/isolation.md"}
    assert result["usage"]["completion_tokens"] > 0
