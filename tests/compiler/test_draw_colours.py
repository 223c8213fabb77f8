"""The colours of marks: told apart by every eye."""

import re
from importlib.resources import files
from itertools import combinations
from math import dist
from operator import mul

import pytest

from teola.compiler.draw.dot import LIT, MARKED

SEEN_BY = {
    "most people": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "who lacks red": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "who lacks green": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "who lacks blue": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""What an eye makes of linear red, green and blue (Machado et al. 2009, severity 1)."""
APART = 20
"""Distance in Lab from which two colours are plainly different; 2 can just be seen."""


def lab(colour, eye):
    """A colour as an eye sees it."""
    shares = [part / 255 for part in bytes.fromhex(colour.removeprefix("#"))]
    linear = [((one + 0.055) / 1.055) ** 2.4 if one > 0.04045 else one / 12.92 for one in shares]
    seen = [sum(map(mul, row, linear)) for row in eye]
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    parts = [max(0.0, sum(map(mul, row, seen))) for row in rows]
    ratios = [part / white for part, white in zip(parts, (0.9505, 1.0, 1.089), strict=True)]
    x, y, z = (one ** (1 / 3) if one > 0.008856 else 7.787 * one + 16 / 116 for one in ratios)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def page_colours():
    """What the page gives marks and the critical path: in the light, in the dark."""
    css = files("teola.compiler.draw.page").joinpath("page.css").read_text("utf-8")
    found = re.findall(r"--(?:added|changed|removed|lit): (#[0-9a-f]{6});", css)
    return [found[:4], found[4:]]


@pytest.mark.parametrize("eye", SEEN_BY)
def test_marks_are_told_apart_by_every_eye(eye):
    """New, changed, gone and critical, in pictures and on the page."""
    for colours in ([*MARKED.values(), LIT], *page_colours()):
        assert len(colours) == 4
        for one, other in combinations(colours, 2):
            assert dist(lab(one, SEEN_BY[eye]), lab(other, SEEN_BY[eye])) > APART
