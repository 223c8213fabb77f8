"""The suite catches every engine that says of itself what is not so."""

import subprocess
import sys
from dataclasses import fields
from xml.etree import ElementTree as ET

import pytest

from teola.runtime.engines.protocol import Capabilities
from tests.engines.liars import LIARS

LIMIT_S = 300


@pytest.fixture(scope="module")
def failed(root, tmp_path_factory):
    """The tests that fail, of the suite on liars and on honest fakes: (test, id) of each."""
    report = tmp_path_factory.mktemp("lies") / "report.xml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider"),
            *("-p", "tests.engines.liars", f"--junitxml={report}"),
            *("tests/engines/test_llms.py", "tests/engines/test_items.py"),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    print(done.stdout[-6000:], done.stderr[-2000:])
    cases = ET.parse(report).iter("testcase")  # noqa: S314 - pytest has just written it
    names = [case.get("name") for case in cases if case.find("failure") is not None]
    return {tuple(name.rstrip("]").split("[", 1)) for name in names}


def test_who_is_honest_passes(failed):
    assert not [test for test, which in failed if which.endswith("honest")]


@pytest.mark.parametrize("capability", [one.name for one in fields(Capabilities)])
def test_a_lie_about_it_is_caught(failed, capability):
    """By the check that is about it; a new capability needs one, and a liar."""
    liars = [one for one in LIARS if one.capability == capability]
    assert liars, f"nobody lies about {capability}: add a check to the suite, and a liar"
    for one in liars:
        assert (one.caught, f"{one.kind}-{one.name}") in failed
