"""Every view opens large enough to read, at its beginning; the rest is a turn of the wheel away."""

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

from teola.compiler.passes.pipeline import parse_pipeline

SCREENS = [(1366, 768), (1600, 1000), (2560, 1300)]
PAGES = [("advanced_rag", {}), ("naive_rag", {}), ("advanced_rag", {"passes": ()})]
READABLE = 10
"""Pixels from the top of the tallest letter to the foot of the lowest."""

LETTERS = """
return [...document.querySelectorAll(".picture text")]
  .filter((text) => text.checkVisibility() && text.textContent)
  .map((text) => text.getScreenCTM().a * parseFloat(getComputedStyle(text).fontSize))
"""
PORTS = """
const sides = (one) => {
  const at = one.getBoundingClientRect();
  return [at.left, at.top, at.right, at.bottom];
};
return [...document.querySelectorAll(".viewport")]
  .filter((port) => port.checkVisibility())
  .map((port) => {
    const first = [...port.querySelectorAll(".box")].find((box) => box.checkVisibility());
    return [port, port.firstElementChild, first].map(sides);
  })
"""
OVERLAPS = """
const inside = (at, frame) =>
  at.right > frame.left && at.left < frame.right && at.bottom > frame.top && at.top < frame.bottom;
const place = (selector) => [...document.querySelectorAll(selector)]
  .filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect());
const frames = place(".viewport");
return place("[data-zoom]").filter((at) => frames.some((frame) => inside(at, frame))).length
"""


@pytest.fixture(params=SCREENS, ids=lambda size: "{}x{}".format(*size))
def screen(request, chromium):
    """A browser with a window of that size inside."""
    width, height = request.param
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield chromium
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture(params=PAGES, ids=["advanced_rag", "naive_rag", "no passes"])
def page(request, screen, page_file):
    """A page on a screen."""
    name, options = request.param
    screen.get(page_file(name, **options).as_uri())
    return screen


@pytest.fixture
def long_page(chromium, page_file):
    """One with a picture that is longer than its viewport is high, in the middle of which the
    pointer stands."""
    chromium.get(page_file("advanced_rag", passes=parse_pipeline("prune-order")).as_uri())
    chromium.find_element("id", "tab-compare").click()
    return chromium


def tabs(page):
    """Open one tab after another."""
    for tab in page.find_elements("css selector", "[role=tab]"):
        tab.click()
        yield tab.text


def opened(page):
    """The first viewport that is to be seen."""
    return next(p for p in page.find_elements("css selector", ".viewport") if p.is_displayed())


def press(page, key):
    """A key, in a picture."""
    opened(page).send_keys(key)


def turn(page, down, key=None):
    """Turn the wheel over a picture, with a key held down."""
    port = opened(page)
    chain = ActionChains(page)
    chain = chain.key_down(key) if key else chain
    chain = chain.scroll_from_origin(ScrollOrigin.from_element(port), 0, down)
    (chain.key_up(key) if key else chain).perform()
    return page.execute_script(PORTS), float(port.get_attribute("data-scale"))


def test_letters_are_large_enough_to_read(page):
    """In every view as it opens, and again after all of it was shown."""
    for name in tabs(page):
        first = min(page.execute_script(LETTERS))
        assert first >= READABLE, name
        press(page, "0")
        press(page, "1")
        assert min(page.execute_script(LETTERS)) == pytest.approx(first)


def test_a_view_opens_at_the_beginning(page):
    """Of the picture: its first box is to be seen, and what is narrow stands in the middle."""
    for name in tabs(page):
        for port, canvas, box in page.execute_script(PORTS):
            assert port[0] <= canvas[0], name
            assert port[1] <= canvas[1] <= port[1] + 10, name
            assert port[0] <= box[0] <= box[2] <= port[2], name
            assert port[1] <= box[1] <= box[3] <= port[3], name
            if canvas[2] < port[2]:
                assert canvas[0] - port[0] == pytest.approx(port[2] - canvas[2], abs=3), name


def test_all_of_it_can_be_shown(page):
    """By the key 0."""
    for name in tabs(page):
        press(page, "0")
        for port, canvas, _ in page.execute_script(PORTS):
            assert port[0] <= canvas[0] <= canvas[2] <= port[2], name
            assert port[1] <= canvas[1] <= canvas[3] <= port[3], name
        assert not page.find_elements("css selector", ".viewport:not([data-more=''])[data-more]")


def test_buttons_stand_clear_of_pictures(page):
    """Of their frames too."""
    for name in tabs(page):
        assert page.execute_script(OVERLAPS) == 0, name


def test_the_wheel_moves_the_picture(long_page):
    """Down to its end and not beyond; what is out of sight is told."""
    (before, _), scale = turn(long_page, 0)
    assert "↓" in opened(long_page).get_attribute("data-more")
    (after, _), same = turn(long_page, 100)
    assert (after[1][1], same) == (pytest.approx(before[1][1] - 100, abs=2), scale)
    (end, other), _ = turn(long_page, 100_000)
    assert "↓" not in opened(long_page).get_attribute("data-more")
    assert max(end[1][3], other[1][3]) == pytest.approx(end[0][3], abs=12)
    (start, _), _ = turn(long_page, -100_000)
    assert start[1][1] == pytest.approx(before[1][1], abs=2)


def test_the_wheel_zooms_with_control(long_page):
    """Towards you is out."""
    _, first = turn(long_page, 0)
    _, larger = turn(long_page, -200, Keys.CONTROL)
    assert larger > first * 1.3
    _, smaller = turn(long_page, 300, Keys.CONTROL)
    assert smaller < first
