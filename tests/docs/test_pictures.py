"""The pages show what is so now: the pictures and golden cases of docs/passes.md and the timelines
of docs/scheduling.md are not stale."""

import re
import xml.etree.ElementTree as ET

import pytest

from teola.compiler.passes.pipeline import PASSES
from tests.docs.pictures import DRAWN, FOLDER, ROOT, SCHEDULES, TIMELINES, case, draw, draw_timeline

PAGE = ROOT / "docs" / "passes.md"
SIDES = ("before", "after")
SVG = "{http://www.w3.org/2000/svg}"
NO_COLOURS = {None, "none", "transparent", "white"}
"""What Graphviz says of frames without a colour, one version this, another that."""
LARGEST = 30_000
"""Bytes of a picture."""


def parts(svg):
    """What a picture shows, wherever Graphviz puts it: of each box, frame and line its name, its
    words, its colours and whether it is dashed."""
    tree = ET.fromstring(svg)  # noqa: S314 - the project's own pictures
    return sorted(map(_part, tree.iter(f"{SVG}g")))


def _part(group):
    shapes = [one for one in group if one.tag not in (f"{SVG}title", f"{SVG}text", f"{SVG}g")]
    colours = {one.get(paint) for one in shapes for paint in ("stroke", "fill")}
    words = " ".join(one.text or "" for one in group.iter(f"{SVG}text"))
    return (
        str(group.get("class")),
        group.findtext(f"{SVG}title") or "",
        sorted(words.split()),
        sorted(colours - NO_COLOURS),
        any(one.get("stroke-dasharray") for one in shapes),
    )


@pytest.fixture(scope="module")
def drawn_now(tmp_path_factory):
    """A folder with the pictures that the present compiler gives."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in DRAWN:
        draw(name, folder)
    return folder


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", DRAWN)
def test_pictures_are_those_of_the_present_compiler(drawn_now, name, side):
    """Equal boxes, frames, lines, words and colours; `make pictures` draws them again."""
    file = f"{name}.{side}.svg"
    shown = (FOLDER / file).read_text(encoding="utf-8")
    assert parts(shown) == parts((drawn_now / file).read_text(encoding="utf-8"))
    assert len(shown.encode()) < LARGEST


@pytest.mark.parametrize("name", DRAWN)
def test_a_rewrite_can_be_seen(name):
    """The second picture of a pass is not the first."""
    before, after = ((FOLDER / f"{name}.{side}.svg").read_bytes() for side in SIDES)
    assert parts(before) != parts(after)


def test_there_are_no_other_pictures():
    """Each file of the folder is one that is drawn."""
    names = {f"{name}.{side}.svg" for name in DRAWN for side in SIDES}
    assert {file.name for file in FOLDER.iterdir()} == names


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_has_a_section_with_its_pictures_and_its_case(name):
    """The case stands there word by word, with a link to its file."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"\n### {name}\n")
    section = re.split(r"\n##", section)[0]
    for side in SIDES:
        assert f"(passes/{name}.{side}.svg)" in section
    assert f"(../{case(name).as_posix()})" in section
    assert (ROOT / case(name)).read_text(encoding="utf-8").strip() in section


@pytest.mark.parametrize("name", TIMELINES)
def test_timelines_are_those_of_the_present_schedulers(tmp_path, name):
    """The same drawing; `make pictures` draws it again."""
    draw_timeline(name, tmp_path)
    shown = (SCHEDULES / f"{name}.svg").read_text(encoding="utf-8")
    assert shown == (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
    assert len(shown.encode()) < LARGEST
    assert f"(scheduling/{name}.svg)" in (ROOT / "docs" / "scheduling.md").read_text("utf-8")


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page):
    """Files that a page links to exist."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []
