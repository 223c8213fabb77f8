"""What importing a part of Teola loads. Who may import whom is import-linter's (`make lint`)."""

import json
import subprocess
import sys
import tomllib

import pytest

from teola.runtime.engines import ENGINES

HEAVY = {
    "accelerate",
    "faiss",
    "gguf",
    "numpy",
    "safetensors",
    "semantic_text_splitter",
    "sentence_transformers",
    "sklearn",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
}

LOADED_AFTER = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
if sys.argv[2] == "whole":
    for module in pkgutil.walk_packages(package.__path__, sys.argv[1] + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules}
                        | {".".join(name.split(".")[:2]) for name in sys.modules})))
"""


def loaded(module, extent="alone"):
    """Top-level and second-level names loaded by a fresh interpreter that imports ``module``."""
    command = [sys.executable, "-c", LOADED_AFTER, module, extent]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_the_compiler_loads_neither_runtime_nor_engines():
    """All of the compiler is pure Python."""
    names = loaded("teola.compiler", "whole")
    assert names & (HEAVY | {"teola.runtime"}) == set()


@pytest.mark.parametrize(
    "module",
    ["teola.runtime", "teola.runtime.cli", "teola.runtime.runner", "teola.runtime.engines"],
)
def test_what_every_command_imports_is_light(module):
    """Commands start quickly: heavy libraries are loaded by the engine that needs them."""
    assert loaded(module) & HEAVY == set()


def test_the_compilers_package_loads_almost_nothing():
    """Importing a subpackage never pays for its neighbours."""
    assert loaded("teola.compiler") & {"pydantic", "yaml", "jinja2", "rich", "typer"} == set()


def test_every_engine_is_protected_from_imports(root):
    """import-linter lets nobody import an engine's module; the list in its contract is whole."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (protected,) = [
        set(contract["protected_modules"])
        for contract in contracts
        if contract["type"] == "protected"
    ]
    modules = {entry.factory.partition(":")[0] for entry in ENGINES.values()}
    assert {name for name in modules if not {name, name.rpartition(".")[0]} & protected} == set()
