"""Distributions built from the tree, and an empty environment with the wheel in it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest


def pytest_collection_modifyitems(items):
    """Everything in this folder carries the marker ``packaging``."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.packaging)


def run(*command, cwd, **more):
    """Standard output of a command that must succeed; its complaints are shown when it does not."""
    variables = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        cwd=cwd,
        env=variables | more,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def distributions(root, project_files, tmp_path_factory):
    """A folder with an sdist, built from a copy of the tree, and a wheel, built from the sdist."""
    source = tmp_path_factory.mktemp("source")
    for name in project_files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, source / name, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--no-isolation", cwd=source)
    return source / "dist"


@pytest.fixture(scope="session")
def wheel(distributions):
    """The built wheel."""
    (found,) = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def sdist(distributions):
    """The built source distribution."""
    (found,) = distributions.glob("*.tar.gz")
    return found


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """An environment with the wheel and its base dependencies: its ``folder``, ``run(command)``."""
    return environment(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture(scope="session")
def installed_beside_engines(wheel, tmp_path_factory):
    """An environment with the wheel alone, which sees the engines' libraries of this one."""
    found = environment(tmp_path_factory.mktemp("beside"), wheel, "--no-deps")
    (packages,) = found.folder.glob("lib/*/site-packages")
    # A line in a .pth adds the folder and runs no .pth in it: not that of the editable install.
    (packages / "engines.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return found


def environment(folder, wheel, *options):
    """A new environment in ``folder`` with the wheel installed."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    # The pip of this environment fills that one: the new one need not hold a pip of its own.
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--quiet", *options, wheel, cwd=folder)

    def run_there(command, *arguments, cwd=folder):
        return run(folder / "bin" / command, *arguments, cwd=cwd, NO_COLOR="1", COLUMNS="100")

    return SimpleNamespace(folder=folder, run=run_there)
