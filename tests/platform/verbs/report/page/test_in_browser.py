"""The page in a browser: every figure drawn, nothing fetched or run, nothing too wide."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from small_report import HOSTILE, TFS, TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
HARMLESS = "GPU stall due to ReadPixels"
"""What Chromium says of drawing WebGL without a GPU."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are absent (Debian: chromium, chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    service = pytest.importorskip("selenium.webdriver.chrome.service")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=service.Service(DRIVER))
    yield driver
    driver.quit()


_ALL_DRAWN = """(next => {
    if (next) next.scrollIntoView({block: 'center'});
    return !next;
})(document.querySelector('[data-figure]:not([data-drawn])'))"""
"""Brings the first figure that is not drawn into view: a busy machine draws none while passing."""


def opened(browser: Any, page: Path, width: int, scheme: str = "light") -> Any:
    """Open a page at a width, and scroll through it, so that all of it is drawn."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())
    wait_for(browser, "document.querySelectorAll('[data-figure]').length > 0")
    wait_for(browser, _ALL_DRAWN)
    return browser


def wait_for(browser: Any, condition: str, seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not browser.execute_script(f"return {condition}"):
        assert time.monotonic() < end, condition
        time.sleep(0.1)


def complaints(browser: Any) -> list[str]:
    return [e["message"] for e in browser.get_log("browser") if HARMLESS not in e["message"]]


def requested(browser: Any) -> set[str]:
    """Return the addresses that were asked for, of anything."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return {one["request"]["url"] for one in sent}


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (400, "light"),
        (1400, "dark"),
        pytest.param(400, "dark", marks=pytest.mark.slow),
        pytest.param(1400, "light", marks=pytest.mark.slow),
    ],
)
def test_every_figure_is_drawn_without_a_word(written, browser, width, scheme) -> None:
    page, found = written
    opened(browser, page, width, scheme)
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('[data-figure]')].map(f =>"
        " [f.dataset.figure, f.querySelectorAll('.main-svg').length,"
        "  f.getBoundingClientRect().height > 100])"
    )
    assert len(drawn) == found.n_figures >= 17
    assert all(n_layers > 0 and is_tall for _, n_layers, is_tall in drawn), drawn
    assert complaints(browser) == []
    wide = "return [document.documentElement.scrollWidth, window.innerWidth]"
    scrolled, inner = browser.execute_script(wide)
    assert scrolled == inner == width


def test_nothing_is_fetched(written, browser) -> None:
    opened(browser, written[0], 1400)
    fetched = {
        url for url in requested(browser) if not url.startswith(("data:", "blob:", "chrome:"))
    }
    assert fetched == {written[0].as_uri()}
    titles = "return [...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)"
    assert {title.lower() for title in browser.execute_script(titles)} <= {
        *("zoom", "pan", "lasso select", "zoom in", "zoom out", "reset axes"),
        "download plot as a png",
    }


def test_names_from_stores_are_shown_and_never_run(written, browser) -> None:
    page = written[0]
    assert HOSTILE not in page.read_text()
    opened(browser, page, 1400)
    n_scripts = browser.execute_script("return document.scripts.length")
    assert n_scripts == 3  # the data, plotly, ours
    assert (
        browser.execute_script("return document.querySelectorAll('svg b, svg script').length") == 0
    )
    text = browser.execute_script("return document.body.innerText")
    legend = browser.execute_script(
        "return [...document.querySelectorAll('#figure-cell-map .legendtext')]"
        ".map(t => t.textContent)"
    )
    assert HOSTILE in text
    assert sorted(name.rsplit(" (", 1)[0] for name in legend) == sorted(TYPES)


def test_an_injected_script_is_refused_by_the_policy(written, browser, tmp_path) -> None:
    page = tmp_path / "changed.html"
    injected = "<script>window.ran = true</script><img src=x onerror='window.ran = true'></main>"
    page.write_text(written[0].read_text().replace("</main>", injected, 1))
    opened(browser, page, 1400)
    assert browser.execute_script("return window.ran") is None
    assert any("Content Security Policy" in message for message in complaints(browser))


def test_cells_are_coloured_as_chosen(written, browser) -> None:
    opened(browser, written[0], 1400)
    choose = "const s = document.querySelector('[data-colours=cell-map]');"
    names = browser.execute_script(choose + "return [...s.options].map(o => o.text)")
    assert names[:2] == ["cell_type", "donor"]
    assert {f"activity of {tf}" for tf in TFS} >= set(names[-1:])
    assert {"depth", "intercept"} <= set(names)
    browser.execute_script(
        choose + "s.selectedIndex = arguments[0]; s.dispatchEvent(new Event('change'));",
        names.index("depth"),
    )
    shown = browser.execute_script(
        "return document.querySelector('[data-figure=cell-map]').data"
        ".filter(t => t.visible !== false).map(t => t.marker.colorbar?.title.text)"
    )
    assert shown == ["log10 open peaks"]


def test_a_lasso_gives_the_names_of_cells(written, browser) -> None:
    opened(browser, written[0], 1400)
    browser.execute_script(
        "const plot = document.querySelector('[data-figure=cell-map]');"
        "plot.emit('plotly_selected', {points: [3, 3, 5].map(n => ({customdata: n}))});"
    )
    picked = browser.execute_script(
        "const box = document.querySelector('[data-picked=cell-map]');"
        "return [box.hidden, box.querySelector('textarea').value,"
        " box.querySelector('[data-count]').textContent]"
    )
    assert picked == [False, "cell3\ncell5", "2 cells chosen"]


def test_it_prints_on_paper_with_all_figures(written, browser) -> None:
    opened(browser, written[0], 1400, "dark")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(printed["data"]) > 50_000
    assert complaints(browser) == []
