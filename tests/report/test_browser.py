"""The report in a real browser: does it fit, is anything blank, does it do what a reader asks of it?

Headless Chromium is driven over its DevTools protocol, through a pipe: no port, no further package.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from PIL import Image

from tailgrad.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--disable-extensions", "--disable-dev-shm-usage", "--mute-audio", "--remote-debugging-pipe"),
)
PATIENCE = 90.0
MEASURES = """(() => {
  const page = document.documentElement;
  const all = Array.from(document.querySelectorAll("figure.plot"));
  const figures = all.filter(f => f.offsetParent !== null);
  const drawn = figures.filter(f => f.dataset.drawn && f.querySelector("svg.main-svg"));
  return {
    figures: figures.length, drawn: drawn.length, width: page.clientWidth, needed: page.scrollWidth,
    wide: drawn.filter(f => f.querySelector("svg").getBoundingClientRect().right > 1 + page.clientWidth)
      .length,
  };
})()"""
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed"),
]


class Browser:
    """One page of one browser; whatever it says, asks for or trips over is kept."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        moved = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", moved, *command], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._to, self._from = os.fdopen(ours_out, "wb"), ours_in
        self._rest, self._last = b"", 0
        self.at: Path | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._session: str | None = None
        targets = self("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._to.close()
        os.close(self._from)
        self._process.terminate()
        self._process.wait(30)

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        for answer in self._messages():
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer)
                return dict(answer["result"])
        raise AssertionError(f"the browser ended before it answered {method}")

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            while b"\0" not in self._rest:
                part = os.read(self._from, 2**20)
                if not part:
                    return
                self._rest += part
            text, self._rest = self._rest.split(b"\0", 1)
            message = json.loads(text)
            self._note(message)
            yield message

    def _note(self, message: dict[str, Any]) -> None:
        kind, params = message.get("method"), message.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:2000])
        elif kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"])[:2000])
        elif kind == "Log.entryAdded":
            self.complaints.append(json.dumps(params["entry"])[:2000])

    def size(self, width: int, height: int) -> None:
        """A screen of so many pixels."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name: str) -> None:
        """The system's colour scheme: light or dark."""
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, path: Path) -> None:
        """Load a file, and wait until every figure in view is drawn."""
        self.at = path
        self("Page.navigate", url=path.as_uri())
        self.until("document.readyState === 'complete' && document.documentElement.dataset.ready === 'yes'")

    def ask(self, script: str) -> Any:
        """The value of an expression."""
        found = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.ask(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of an element, scrolled into view."""
        script = (
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        x, y = self.ask(script)
        return float(x), float(y)

    def move(self, x: float, y: float) -> None:
        """The pointer to a place on the screen."""
        self("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """A real click in the middle of an element."""
        x, y = self.place(selector)
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, code: int) -> None:
        """A key, such as ("Tab", 9)."""
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """A PNG of the screen, or of the whole page."""
        found = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def pdf(self, path: Path) -> Path:
        """The page as it prints."""
        found = self("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """A browser that ends with the block."""
    with Browser(profile) as browser:
        yield browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Path:
    """The report of a run whose monitor kept two epochs."""
    folder = tmp_path_factory.mktemp("watched") / "a run \u96ea"
    shutil.copytree(run_folder, folder)
    names = json.loads((folder / "result.json").read_text(encoding="utf-8"))["classes"]["names"]
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:2]
    size = len(names)
    for epoch, value in ((1, -0.9), (2, 0.8)):
        cells = np.where(np.eye(size, dtype=bool), 1.0, value).tolist()
        record = {"kind": "interference", "count": dict.fromkeys(names, 1), "conflict": cells}
        lines.insert(2 * epoch - 2, json.dumps(record))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return write_report(folder)


@pytest.fixture(scope="module")
def study(study_folder: Path) -> Path:
    return write_report(study_folder)


def shown(browser: Browser, path: Path, width: int = 1280) -> None:
    """The page on such a screen; one that is there already stays, since drawing it takes seconds."""
    browser.size(width, 900)
    browser.scheme("light")
    if browser.at != path:
        browser.open(path)


@pytest.mark.parametrize("kind", ["study", "watched"])
def test_figures_appear_nothing_sticks_out_and_nothing_is_asked_for(
    request: pytest.FixtureRequest, browser: Browser, kind: str
) -> None:
    path: Path = request.getfixturevalue(kind)
    browser.requests.clear()
    browser.complaints.clear()
    browser.at = None
    shown(browser, path, 390)
    browser.ask("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    browser.until("Array.from(document.querySelectorAll('figure.plot')).every(f => f.dataset.drawn)")
    for width in (390, 1280):
        browser.size(width, 900)
        browser.until(f"{MEASURES}.wide === 0")
        said: dict[str, Any] = browser.ask(MEASURES)
        assert said["width"] == width
        assert said["needed"] <= width
        assert said["figures"] == said["drawn"] > 8
    assert browser.complaints == []
    outside = [address for address in browser.requests if not address.startswith(("data:", "blob:"))]
    assert outside == [path.as_uri()]


def test_a_pointer_over_a_bar_shows_its_class(browser: Browser, watched: Path) -> None:
    shown(browser, watched)
    browser.move(*browser.place("#every-class .bars .point path"))
    browser.until("document.querySelector('#every-class .hoverlayer text') !== null")
    text = browser.ask("document.querySelector('#every-class .hoverlayer').textContent")
    assert re.search(r": 0\.\d{3}", text)


def test_a_click_on_a_heading_sorts_and_a_second_turns_the_order(browser: Browser, watched: Path) -> None:
    shown(browser, watched)
    table = "#every-class table.data"
    rows = f"Array.from(document.querySelectorAll('{table} tbody tr'))"
    script = f"{rows}.map(row => parseFloat(row.cells[4].textContent))"
    heading = f"{table} th:nth-child(5)"
    before = browser.ask(script)
    browser.click(f"{heading} button")
    assert browser.ask(script) == sorted(before)
    assert browser.ask(f"document.querySelector('{heading}').getAttribute('aria-sort')") == "ascending"
    browser.click(f"{heading} button")
    assert browser.ask(script) == sorted(before, reverse=True)


def test_the_slider_moves_through_the_epochs_from_the_keyboard(browser: Browser, watched: Path) -> None:
    shown(browser, watched)
    cell = "document.querySelector('#conflict-while-training .canvas').data[0].z[0][1]"
    browser.place("#conflict-while-training input[type=range]")
    browser.ask("document.querySelector('#conflict-while-training input[type=range]').focus()")
    assert browser.ask(cell) == 0.8
    browser.press("ArrowLeft", 37)
    browser.until(f"{cell} === -0.9")
    assert browser.ask("document.querySelector('#conflict-while-training output').textContent") == "epoch 1"
    spoken = (
        "document.querySelector('#conflict-while-training input[type=range]').getAttribute('aria-valuetext')"
    )
    assert browser.ask(spoken).startswith("epoch 1.")


def test_like_classes_are_put_together_and_back(browser: Browser, watched: Path) -> None:
    shown(browser, watched)
    canvas = "#where-the-errors-go .canvas"
    labels = f"Array.from(document.querySelector('{canvas}').data[0].x)"
    before = browser.ask(labels)
    choose = "(v => {{ const s = document.querySelector('#where-the-errors-go select'); s.value = v;"
    choose = choose.replace("{{", "{") + "s.dispatchEvent(new Event('change')); })"
    browser.ask(f"{choose}('alike')")
    order = browser.ask(f"document.querySelector('{canvas}').layout.meta.alike")
    assert browser.ask(labels) == [before[i] for i in order]
    browser.ask(f"{choose}('count')")
    assert browser.ask(labels) == before


def test_tab_reaches_the_skip_link_first_and_focus_can_be_seen(browser: Browser, watched: Path) -> None:
    browser.at = None  # the focus begins anew
    shown(browser, watched)
    browser.press("Tab", 9)
    assert browser.ask("document.activeElement.className") == "skip"
    assert browser.ask("document.activeElement.getBoundingClientRect().left") >= 0
    browser.press("Tab", 9)
    assert browser.ask("document.activeElement.id") == "theme"
    assert browser.ask("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2


def test_colours_follow_the_system_and_the_button(browser: Browser, watched: Path) -> None:
    shown(browser, watched)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.ask(ground)
    browser.scheme("dark")
    browser.until(f"{ground} !== {json.dumps(light)}")
    browser.click("#theme")
    assert browser.ask(ground) == light
    assert browser.ask("document.querySelector('#theme').textContent") == "Colours: light"
    browser.at = None  # the next test begins anew


def test_prints_on_paper(browser: Browser, tmp_path: Path, watched: Path) -> None:
    shown(browser, watched)
    printed = browser.pdf(tmp_path / "report.pdf")
    assert printed.read_bytes().startswith(b"%PDF")
    assert printed.stat().st_size > 50_000
    if shutil.which("pdftotext"):
        words = ["pdftotext", "-layout", str(printed), "-"]
        text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert "Is it good where it matters?" in text
        assert "Colours: system" not in text  # what can only be clicked stays off the paper


def test_what_is_not_drawn_yet_is_drawn_for_paper(browser: Browser, watched: Path) -> None:
    shown(browser, watched)
    plots = "Array.from(document.querySelectorAll('figure.plot')).filter(f => f.offsetParent !== null)"
    whole = f"{plots}.filter(f => f.querySelector('.main-svg')).length"
    every = browser.ask(whole)
    assert every == browser.ask(f"{plots}.length") > 2
    wiped = "Plotly.purge(f.querySelector('.canvas')); delete f.dataset.drawn"
    browser.ask(f"{plots}.slice(1).forEach(f => {{ {wiped}; }})")
    assert browser.ask(whole) == 1
    browser.ask("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.ask(whole) == every
    browser.at = None  # the next test begins anew


@pytest.mark.slow
def test_a_long_table_is_searched_and_paged(browser: Browser, tmp_path: Path, make_run: Any) -> None:
    names = tuple(f"class {k:03d}" for k in range(60))
    make_run(tmp_path / "run", names=names, counts=tuple(range(100, 40, -1)), moments=())
    shown(browser, write_report(tmp_path / "run"))
    rows = "Array.from(document.querySelectorAll('#every-class tbody tr')).filter(r => !r.hidden).length"
    assert browser.ask(rows) == 25
    browser.click("#every-class .bar button:nth-of-type(2)")
    assert browser.ask("document.querySelector('#every-class .said').textContent") == "26 to 50 of 60"
    browser.ask(
        "(() => { const i = document.querySelector('#every-class input'); i.value = 'class 007';"
        "i.dispatchEvent(new Event('input')); })()"
    )
    assert browser.ask(rows) == 1


def test_names_that_are_markup_stay_words(browser: Browser, study: Path) -> None:
    shown(browser, study)
    assert browser.ask("document.querySelectorAll('b, main img, main a').length") == 0


def test_two_runs_are_held_side_by_side(browser: Browser, study: Path, study_folder: Path) -> None:
    shown(browser, study)
    browser.ask(
        "(() => { const s = document.querySelectorAll('.picker select')[0]; s.value = '2';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    cells = "document.querySelectorAll('.picker table')[0].tBodies[0].rows[0].cells"
    rows = browser.ask(f"Array.from({cells}).map(cell => cell.textContent)")
    runs = [f"panels.quick.{name}" for name in ("baseline.seed2", "csba.seed0")]
    values = [
        json.loads((study_folder / "runs" / run / "result.json").read_text(encoding="utf-8"))["test"][
            "macro_f1"
        ]
        for run in runs
    ]
    assert rows[0] == "macro-F1"
    assert [rows[1][:5], rows[2][:5]] == [f"{value['value']:.3f}" for value in values]
    assert float(rows[3]) == pytest.approx(values[1]["value"] - values[0]["value"], abs=1e-3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_picture_is_not_blank(browser: Browser, tmp_path: Path, study: Path, scheme: str) -> None:
    shown(browser, study, 390)
    browser.scheme(scheme)
    browser.until("getComputedStyle(document.documentElement).colorScheme === " + json.dumps(scheme))
    browser.place("#methods-compared figure")
    pixels = np.asarray(Image.open(browser.picture(tmp_path / "report.png")).convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 200
    background = np.median(pixels.reshape(-1, 3), axis=0).mean()
    assert background > 200 if scheme == "light" else background < 60
    blue, orange = (
        (np.abs(pixels - np.array(colour)) < 12).all(2).sum() for colour in ((0, 114, 178), (213, 94, 0))
    )
    assert blue > 20
    assert orange > 20
