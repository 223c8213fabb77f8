"""A headless Chromium, and pages to open in it."""

import os
import shutil

import pytest
from selenium import webdriver

from teola.compiler.api import compilation
from teola.compiler.draw.page import draw_page

MISSING = "{} is not on PATH: install Debian's packages chromium and chromium-driver"


def pytest_collection_modifyitems(items):
    """All tests here need the browser."""
    for item in items:
        if "tests/browser/" in item.nodeid:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """One browser for all tests; what it logs of pages is kept."""
    options = webdriver.ChromeOptions()
    options.binary_location = _program("chromium")
    options.add_argument("--headless=new")
    options.add_argument("--window-size=1500,950")
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(_program("chromedriver")))
    yield driver
    driver.quit()


def _program(name):
    path = shutil.which(name)
    if path is None:
        pytest.fail(MISSING.format(name))
    return path


@pytest.fixture(scope="session")
def page_file(tmp_path_factory):
    """Write the page of a workflow; return where."""

    def write(name, **options):
        path = tmp_path_factory.mktemp("page") / "page.html"
        path.write_text(draw_page(compilation(name, **options)), encoding="utf-8")
        return path

    return write
