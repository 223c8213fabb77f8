"""The page in a real browser: it asks the network for nothing, and does what it says."""

import json

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

TABS = ["modules", "compare", "passes", "tasks"]
CANVAS = By.CSS_SELECTOR, ".canvas"
HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>&amp;\"'"


@pytest.fixture(params=["advanced_rag", "naive_rag"])
def page(request, chromium, page_file):
    """The page of a workflow, opened from its file."""
    url = page_file(request.param).as_uri()
    open_fresh(chromium, url)
    return chromium


def open_fresh(chromium, url):
    """Open a page with empty logs."""
    chromium.get("about:blank")
    for log in ("browser", "performance"):
        chromium.get_log(log)
    chromium.get(url)


def shown(page, selector):
    """What of a selector can be seen."""
    found = (
        "return [...document.querySelectorAll(arguments[0])].filter(one => one.checkVisibility())"
    )
    return page.execute_script(found, selector)


def choose(page, tab):
    page.find_element(By.ID, f"tab-{tab}").click()


def point(page, element):
    ActionChains(page).move_to_element(element).perform()


def box(page, name):
    """The box of a name that can be seen."""
    return shown(page, f".box[data-box='{name}']")[0]


def details(page):
    return page.find_element(By.ID, "details").text


def scale(page):
    return float(shown(page, ".viewport")[0].get_attribute("data-scale"))


def test_it_asks_for_nothing_and_complains_of_nothing(page):
    """One request: the file itself; an empty console, whatever is clicked."""
    for tab in TABS:
        choose(page, tab)
        point(page, shown(page, ".box")[0])
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    requests = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert requests == [page.current_url]
    assert page.get_log("browser") == []


def test_tabs_switch(page):
    """One panel is open at a time; arrow keys move between tabs."""
    for tab in TABS:
        choose(page, tab)
        assert [one.get_attribute("id") for one in shown(page, "[role=tabpanel]")] == [tab]
        assert shown(page, ".picture")
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert [one.get_attribute("id") for one in shown(page, "[role=tabpanel]")] == ["modules"]


def test_zoom_and_pan(page):
    """By button, key and mouse; side by side, both pictures follow."""
    choose(page, "compare")
    first = scale(page)
    shown(page, "[data-zoom=in]")[0].click()
    assert scale(page) == pytest.approx(first * 1.25, rel=0.01)
    assert len({one.get_attribute("data-scale") for one in shown(page, ".viewport")}) == 1
    port = shown(page, ".viewport")[1]
    canvas = port.find_element(*CANVAS)
    before = canvas.rect
    ActionChains(page).drag_and_drop_by_offset(port, -80, -40).perform()
    assert canvas.rect["x"] == pytest.approx(before["x"] - 80, abs=2)
    assert canvas.rect["y"] == pytest.approx(before["y"] - 40, abs=2)
    port.send_keys("1")
    assert scale(page) == pytest.approx(first, rel=0.01)
    assert canvas.rect["x"] > before["x"] - 40
    port.send_keys("0")
    assert scale(page) < first


def test_pointing_at_a_box_shows_what_it_is(page):
    """Settings, engine, types, line in the file, profile; what it is joined to stays bright."""
    choose(page, "compare")
    assert "Point at a box" in details(page)
    point(page, box(page, "indexed.embed"))
    text = details(page)
    for word in ("indexed.embed", "in the file\nline ", "engine embedder", "list<embedding>"):
        assert word in text
    assert "profile\n" in text
    assert "predicted\n" in text
    assert "here" in box(page, "indexed.embed").get_attribute("class")
    assert "near" in box(page, "chunks.chunk").get_attribute("class")
    assert "near" not in box(page, "in:question").get_attribute("class").split()
    point(page, page.find_element(By.TAG_NAME, "h1"))
    assert "Point at a box" in details(page)


def test_a_click_keeps_the_details(page):
    """Until Escape."""
    choose(page, "modules")
    box(page, "answer").click()
    point(page, box(page, "chunks"))
    assert details(page).startswith("module\nanswer")
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert "Point at a box" in details(page)


def test_passes_show_what_they_did(page):
    """Each one its own picture and sentences, new and gone marked; arrow keys go through them.
    Those that had nothing to do are there too, and the legend says what marks mean."""
    assert not shown(page, "footer .mark")
    choose(page, "passes")
    assert [one.text for one in shown(page, "footer .mark")] == ["+\nnew", "!\nchanged", "-\ngone"]
    idle = [one.text.split()[0] for one in shown(page, ".pass.idle")]
    assert set(idle) >= {"deduplicate"}
    assert all(one.text.endswith("nothing to do") for one in shown(page, ".pass.idle"))
    radios = page.find_elements(By.CSS_SELECTOR, "input[name=pass]")
    assert not shown(page, ".step .added, .step .gone, .step .changed")
    radios[0].click()
    seen = []
    for number in range(1, len(radios)):
        page.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
        assert radios[number].is_selected()
        name = radios[number].find_element(By.XPATH, "..").text.split()[0]
        marks = {mark for mark in ("added", "changed", "gone") if shown(page, f".step .{mark}")}
        seen.append((name, marks))
        assert shown(page, ".told li")
    assert seen[0] == ("prune-order", {"gone"})
    assert dict(seen)["decompose-stages"] == {"added", "changed"}
    assert dict(seen)["split-prefill"] == {"added"}


def test_a_sentence_shows_its_boxes(page):
    """Those it speaks of."""
    choose(page, "passes")
    page.find_elements(By.CSS_SELECTOR, "input[name=pass]")[-1].click()
    said = next(one for one in shown(page, ".told li") if "warms up" in one.text)
    point(page, said)
    warm = said.text.split()[0]
    assert "here" in box(page, warm).get_attribute("class")


def test_a_task_shows_what_it_waits_for(page):
    """Lines are drawn from it and to it, in its own time line."""
    choose(page, "tasks")
    bars = [one for one in shown(page, ".task") if one.get_attribute("data-after")]
    point(page, bars[-1])
    assert shown(page, ".wait")
    assert "runs\n" in details(page)
    point(page, page.find_element(By.TAG_NAME, "h1"))
    assert not shown(page, ".wait")


def test_boxes_are_reached_with_keys(page):
    """One tab stop a picture, behind the buttons; arrows go from box to box, and their details are
    shown."""
    choose(page, "modules")
    page.switch_to.active_element.send_keys(Keys.TAB, Keys.TAB)
    for _ in range(8):
        current = page.switch_to.active_element
        if current.get_attribute("data-box"):
            break
        current.send_keys(Keys.TAB)
    first = page.switch_to.active_element.get_attribute("data-box")
    assert first
    page.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    second = page.switch_to.active_element.get_attribute("data-box")
    assert second not in ("", first, None)
    assert details(page).startswith(("module", "input", "output"))


def test_prompts_are_only_text(chromium, page_file, tmp_path):
    """Whatever stands in them: no element, no script of theirs comes to be."""
    workflow = tmp_path / "hostile.yaml"
    workflow.write_text(
        "teola: 1\n"
        "name: hostile\n"
        f"description: {json.dumps(HOSTILE)}\n"
        f"inputs: {{q: {{type: text, description: {json.dumps(HOSTILE)}}}}}\n"
        "engines: {llm: {kind: llm, backend: fake}}\n"
        "modules:\n"
        "  a:\n"
        "    uses: generate\n"
        f"    with: {{prompt: {json.dumps(HOSTILE + ' {{ q }}')}}}\n"
        "    inputs: {q: inputs.q}\n"
        "outputs: {o: a.text}\n",
        encoding="utf-8",
    )
    open_fresh(chromium, page_file(workflow).as_uri())
    assert chromium.title == "hostile · Teola"
    assert chromium.find_elements(By.TAG_NAME, "img") == []
    choose(chromium, "compare")
    point(chromium, box(chromium, "a.prefill"))
    assert HOSTILE in details(chromium)
    assert chromium.find_elements(By.TAG_NAME, "img") == []
    assert chromium.get_log("browser") == []


def test_dark_and_print(page):
    """Both have their colours; paper has every picture and no buttons."""
    ground = "return getComputedStyle(document.body).backgroundColor"
    for scheme, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 28)")):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert page.execute_script(ground) == colour
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert len(shown(page, "[role=tabpanel]")) == len(TABS)
    assert not shown(page, "button")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
