"""How one query fared, and its picture."""

import xml.etree.ElementTree as ET

import pytest

from teola.compiler.cost.sizes import Sizes
from teola.runtime.errors import InputError
from teola.runtime.simulation import Workload, simulate
from teola.runtime.simulation.chronicle import Chronicle, Lane, Story, Stretch
from teola.runtime.simulation.query_picture import query_picture
from tests.simulation.loads import ONE_SECOND, embedding, profile

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def chronicle(tmp_path):
    """Of three queries, of two, one and one texts, at 0 s, 0.5 s and 9 s; a second a text."""
    found = Chronicle()
    workload = Workload((0.0, 0.5, 9.0), Sizes({"texts": 1}))
    simulate(embedding(), workload, profile=profile(tmp_path, ONE_SECOND), observers=[found])
    return found


def test_a_query_waits_while_others_run(chronicle):
    """The second comes at 0.5 s, and runs when the first has ended."""
    story = chronicle.story(2)
    assert story.total_s == pytest.approx(1.5)
    assert not story.failed
    (lane,) = story.lanes
    assert lane.engine == "emb"
    assert lane.own == (Stretch("a", False, 0.0, ((0.5, 1.5),)),)
    assert lane.others == ((-0.5, 0.5),)


def test_a_query_alone_meets_no_others(chronicle):
    """What ended before it came, or began after it ended, is not of its story."""
    (lane,) = chronicle.story(3).lanes
    assert lane.others == ()
    assert lane.own[0].runs == ((0.0, 1.0),)


def test_shared_work_is_of_all_that_wait_for_it(tmp_path):
    """Who comes while it runs has it in its story, from before its arrival on."""
    found = Chronicle()
    workload = Workload((0.0, 0.25), Sizes({"texts": 1}), same=frozenset({"texts"}))
    simulate(embedding(), workload, profile=profile(tmp_path, ONE_SECOND), observers=[found])
    assert [found.story(number).total_s for number in (1, 2)] == pytest.approx([1, 0.75])


def test_the_median_is_of_latencies(chronicle):
    """1, 1.5 and 1 s: the third, or the first."""
    assert chronicle.story(chronicle.median()).total_s == pytest.approx(1)


@pytest.mark.parametrize("number", [0, 4])
def test_there_is_no_such_query(chronicle, number):
    """Numbers count from 1."""
    with pytest.raises(InputError, match=f"no query {number}: there are 3"):
        chronicle.story(number)


STORY = Story(
    7,
    "rag",
    10.0,
    failed=False,
    lanes=(
        Lane("llm", (Stretch("answer", False, 1.0, ((2.0, 4.0),)),), ((0.0, 3.0), (1.0, 2.0))),
        Lane("store", (Stretch("found", False, 5.0, ((5.0, 9.0), (9.5, 10.0))),), ()),
    ),
)


def boxes(picture, look):
    """The boxes of a look: x, width."""
    root = ET.fromstring(picture)  # noqa: S314 - our own drawing
    found = [one for one in root.iter(f"{SVG}rect") if one.get("class") == look]
    return [
        (float(one.get("x")), float(one.get("width"))) for one in found if one.get("rx") is None
    ]


def test_a_picture_has_a_box_for_everything():
    """Waiting from the queue to the end, running above it, others; each in its place."""
    picture = query_picture(STORY, "rag")
    works, waits = boxes(picture, "works"), boxes(picture, "waits")
    assert len(works) == 3
    assert len(waits) == 2
    assert len(boxes(picture, "other")) == 2
    scale = works[0][1] / 2
    assert waits[0] == pytest.approx((works[0][0] - scale, 3 * scale), abs=0.2)
    assert ">rag: query 7 took 10.0 s<" in picture


def test_a_span_makes_pictures_comparable():
    """Seconds are as wide in the picture of a shorter query; what comes later is cut off."""
    whole, half = (query_picture(STORY, "rag", span) for span in (20.0, 5.0))
    assert boxes(half, "works")[0][1] == pytest.approx(4 * boxes(whole, "works")[0][1], abs=0.2)
    assert len(boxes(half, "works")) == 1


def test_modules_have_colours_by_their_names():
    """So that pictures of one workflow agree."""
    colours = []
    for lanes in (STORY.lanes, STORY.lanes[::-1]):
        picture = query_picture(Story(1, "rag", 10.0, False, lanes), "rag")
        root = ET.fromstring(picture)  # noqa: S314 - our own drawing
        samples = [one for one in root.iter(f"{SVG}rect") if "sample" in (one.get("class") or "")]
        colours.append([one.get("fill") for one in samples])
    assert colours[0] == colours[1]
