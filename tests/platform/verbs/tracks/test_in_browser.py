"""The page in a browser, from a server: tracks drawn by range requests, nothing else asked for."""

from __future__ import annotations

import re
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from atlasbasset.verbs.tracks.tracks import tracks
from small_tracks import GROUPS, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from small_tracks import Served

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(made) -> Iterator[Served]:
    with served(made.out) as found:
        yield found


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
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=service.Service(DRIVER))
    yield driver
    driver.quit()


def wait_for(browser: Any, condition: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not browser.execute_script(f"return {condition}"):
        message = browser.execute_script("return document.getElementById('message').textContent")
        assert time.monotonic() < end, (condition, message)
        time.sleep(0.1)


def opened(browser: Any, server: Served, width: int, scheme: str = "light") -> None:
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    browser.get_log("browser")
    server.answers.clear()
    browser.get(f"{server.url}/index.html")
    wait_for(browser, "document.body.dataset.ready")


def track_names(browser: Any) -> list[str]:
    """Names that igv.js shows beside its tracks."""
    return browser.execute_script(
        "const root = document.getElementById('browser').shadowRoot;"
        "return [...root.querySelectorAll('.igv-track-label')].map(l => l.textContent)"
    )


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (1400, "dark")])
def test_all_tracks_are_drawn_without_a_word_and_nothing_is_too_wide(
    server, browser, width, scheme
) -> None:
    opened(browser, server, width, scheme)
    names = track_names(browser)
    for group in GROUPS:
        shown = group.replace("<", "\u2039").replace(">", "\u203a")
        for kind in ("denoised", "observed", "predicted"):
            assert f"{shown}, {kind}" in names
    assert {"Genes", "Peaks"} <= set(names)
    assert browser.get_log("browser") == []
    scrolled = browser.execute_script("return document.documentElement.scrollWidth")
    assert scrolled == width
    style = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    ground, text = (_lightness(colour) for colour in browser.execute_script(style))
    assert (ground > text) == (scheme == "light")
    assert abs(ground - text) > 0.6
    turned = "return getComputedStyle(document.getElementById('browser')).filter"
    assert ("invert" in browser.execute_script(turned)) == (scheme == "dark")


def _lightness(colour: str) -> float:
    """Return the mean of red, green and blue, 0..1, of ``rgb(1, 2, 3)``."""
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 765


def test_chromosomes_lengths_do_in_the_place_of_a_sequence(made, browser, tmp_path) -> None:
    out = tmp_path / "plain"
    tracks(made.model, made.atlas, group_by="cell_type", out=out, convolution="direct")
    with served(out) as server:
        opened(browser, server, 1400)
        assert f"{GROUPS[1]}, denoised" in track_names(browser)
        assert browser.get_log("browser") == []


def test_bigwigs_are_read_by_ranges(server, browser) -> None:
    opened(browser, server, 1400)
    of_tracks: list[tuple[str, str | None, int]] = []
    end = time.monotonic() + 60
    while len({path for path, _, _ in of_tracks}) < 3 * len(GROUPS):
        assert time.monotonic() < end, of_tracks
        time.sleep(0.1)
        of_tracks = [answer for answer in server.answers if answer[0].endswith(".bw")]
    assert all(asked and status == 206 for _, asked, status in of_tracks)


def test_no_other_server_is_asked(server, browser) -> None:
    """The page's policy would report a request to another one as an error."""
    opened(browser, server, 1400)
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert asked
    assert all(url.startswith((server.url, "data:", "blob:")) for url in asked)
    assert browser.get_log("browser") == []


def test_names_of_groups_are_shown_and_are_no_markup(server, browser) -> None:
    opened(browser, server, 1400)
    text = browser.execute_script("return document.getElementById('groups').innerText")
    assert GROUPS[0] in text
    n_bold = browser.execute_script(
        "const root = document.getElementById('browser').shadowRoot;"
        "return root.querySelectorAll('b').length + document.querySelectorAll('b').length"
    )
    assert n_bold == 0


def test_groups_are_hidden_and_shown_again(server, browser) -> None:
    opened(browser, server, 1400)
    box = f"document.querySelector('#groups input[value=\"{GROUPS[3]}\"]')"
    browser.execute_script(f"{box}.click()")
    end = time.monotonic() + 30
    while any(GROUPS[3] in name for name in track_names(browser)):
        assert time.monotonic() < end
        time.sleep(0.1)
    browser.execute_script(f"{box}.click()")
    while not any(name == f"{GROUPS[3]}, denoised" for name in track_names(browser)):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_opened_as_a_file_it_says_what_to_do(made, browser) -> None:
    browser.get((made.out / "index.html").as_uri())
    wait_for(browser, "document.getElementById('message').textContent.includes('web server')")


def assert_shown(browser: Any, server: Served) -> None:
    opened(browser, server, 1400)
    assert f"{GROUPS[1]}, denoised" in track_names(browser)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.getElementById('message').textContent") == ""
    assert {status for path, _, status in server.answers if path.endswith(".bw")} == {206}


def test_a_path_that_nobody_guesses_and_a_cookie_open_the_whole_folder(made, browser) -> None:
    with served(made.out, prefix="/1f0b6c/tracks") as server:
        assert_shown(browser, server)
    with served(made.out, allowed=lambda request: request.cookies.get("key") == "k") as server:
        browser.get(f"{server.url}/index.html")
        assert server.answers[-1][2] == 403
        browser.add_cookie({"name": "key", "value": "k"})
        assert_shown(browser, server)
        browser.delete_all_cookies()


def test_a_signed_link_opens_one_file_and_the_page_says_so(made, browser) -> None:
    with served(made.out, allowed=lambda request: "signature" in request.query) as server:
        browser.get(f"{server.url}/index.html?signature=s")
        shown = browser.execute_script("return document.getElementById('message').innerText")
        assert "a signed link opens one file" in shown
        statuses = {path: status for path, _, status in server.answers}
        assert statuses["/index.html"] == 200
        assert statuses["/page.js"] == statuses["/igv.js"] == 403
        browser.get_log("browser")


def test_files_of_the_folder_that_are_refused_are_named(made, browser) -> None:
    with served(made.out, allowed=lambda request: request.path != "/tracks.json") as server:
        browser.get(f"{server.url}/index.html")
        wait_for(browser, "document.getElementById('message').textContent.includes('403')")
        browser.get_log("browser")


READ_A_RANGE = """
const done = arguments[arguments.length - 1];
fetch(arguments[0], {headers: {Range: "bytes=0-63"}})
  .then(async answer => done([answer.status, (await answer.arrayBuffer()).byteLength]))
  .catch(error => done(String(error)));
"""


def test_another_page_reads_a_bigwig_where_its_origin_is_allowed(made, browser, tmp_path) -> None:
    """As IGV-Web and the browsers of others do, also behind the signature of that file."""
    (tmp_path / "other.html").write_text("<!doctype html><title>other</title>")
    file = next(made.out.glob("denoised/*.bw")).relative_to(made.out)
    signed = {"allowed": lambda request: "signature" in request.query}
    with served(tmp_path) as other, served(made.out, **signed) as closed:
        browser.get(f"{other.url}/other.html")
        found = browser.execute_async_script(READ_A_RANGE, f"{closed.url}/{file}?signature=s")
        assert "TypeError" in found
        browser.get_log("browser")
        open_to_all = {"Access-Control-Allow-Origin": "*"}
        with served(made.out, **signed, headers=open_to_all) as opened_up:
            url = f"{opened_up.url}/{file}"
            assert browser.execute_async_script(READ_A_RANGE, f"{url}?signature=s") == [206, 64]
            assert browser.execute_async_script(READ_A_RANGE, url)[0] == 403
        browser.get_log("browser")
