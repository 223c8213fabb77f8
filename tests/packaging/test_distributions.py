"""What the wheel and the sdist contain."""

import tarfile
import zipfile

import pytest

FOLDERS = ("compiler", "runtime", "schemas", "workflows")


@pytest.fixture(scope="module")
def packaged_files(project_files):
    """Files of the packages, as the wheel should name them."""
    return {f"teola/{path}" for path in project_files if path.parts[0] in FOLDERS}


@pytest.fixture(scope="module")
def wheel_names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_file_of_the_packages_and_no_other(wheel_names, packaged_files):
    """Modules, workflows, their documents, schemas and type markers."""
    inside = {name for name in wheel_names if ".dist-info/" not in name}
    assert inside == packaged_files


def test_sdist_holds_every_file_of_the_packages(sdist, packaged_files):
    """A wheel can be built from it."""
    with tarfile.open(sdist) as archive:
        names = {"teola/" + name.partition("/")[2] for name in archive.getnames()}
    assert packaged_files <= names


def test_wheel_carries_the_licence(wheel_names):
    """Apache-2.0 asks that its text goes along."""
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)


def test_wheel_is_for_every_platform(wheel):
    """Pure Python."""
    assert wheel.name.endswith("-py3-none-any.whl")
