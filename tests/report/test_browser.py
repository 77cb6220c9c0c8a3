"""The report in a real browser: do the figures appear, does it fit a phone, is it anything but blank?"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tailgrad.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    "--virtual-time-budget=20000",
)
# The browser's own window is never narrower than 500 pixels; a frame is.
FRAME = """<body style="margin:0"><iframe style="width:{width}px;height:1600px;border:0" src="{name}">
</iframe>
<p id="said"></p><script>addEventListener("message", e => {{ said.textContent = e.data; }});</script>"""
PROBE = """<script>setInterval(function () {
  document.querySelectorAll("details").forEach(part => { part.open = true; });
  var figures = Array.from(document.querySelectorAll("figure.plot")).filter(f => f.offsetParent !== null);
  var drawn = figures.filter(f => f.dataset.drawn && f.querySelector("svg.main-svg"));
  var page = document.documentElement;
  parent.postMessage(JSON.stringify({figures: figures.length, drawn: drawn.length, width: page.clientWidth,
    needed: page.scrollWidth, alerts: document.querySelectorAll("b, img").length,
    wide: drawn.filter(f => f.querySelector("svg").getBoundingClientRect().right > 1 + page.clientWidth)
      .length}), "*");
}, 200);</script></body>"""


def browse(folder: Path, profile: Path, *options: str) -> str:
    assert CHROMIUM is not None
    page = f"--user-data-dir={profile}", *options, (folder / "frame.html").as_uri()
    done = subprocess.run([CHROMIUM, *FLAGS, *page], capture_output=True, text=True, timeout=180, check=True)
    return done.stdout


def framed(folder: Path, width: int) -> None:
    html = write_report(folder).read_text(encoding="utf-8")
    allowed = re.sub(r"script-src [^;]*;", "script-src 'unsafe-inline';", html, count=1)  # for the probe
    (folder / "probed.html").write_text(allowed.replace("</body>", PROBE), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width, name="probed.html"))


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", ["run_folder", "study_folder"])
def test_figures_appear_and_nothing_sticks_out(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, width: int
) -> None:
    folder: Path = request.getfixturevalue(kind)
    framed(folder, width)
    text = browse(folder, tmp_path, "--window-size=1300,1700", "--dump-dom")
    found = re.search(r'<p id="said">(.*?)</p>', text)
    assert found, text[-2000:]
    said = json.loads(found.group(1))
    assert said["width"] == width
    assert said["needed"] <= width
    assert said["figures"] == said["drawn"] == (folder / "probed.html").read_text("utf-8").count('role="img"')
    assert said["wide"] == 0
    assert said["alerts"] == 0


@pytest.mark.parametrize(
    ("flag", "brightness"), [("--disable-extensions", "light"), ("--force-dark-mode", "dark")]
)
def test_picture_is_not_blank(tmp_path: Path, study_folder: Path, flag: str, brightness: str) -> None:
    framed(study_folder, 390)
    picture = tmp_path / "report.png"
    browse(study_folder, tmp_path / "profile", flag, "--window-size=500,1600", f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("RGB"))[:, :390]
    shades = np.unique(pixels.reshape(-1, 3), axis=0)
    assert len(shades) > 200
    background = np.median(pixels.reshape(-1, 3), axis=0).mean()
    assert background > 200 if brightness == "light" else background < 60
    blue, orange = (
        (np.abs(pixels - np.array(colour)) < 12).all(2).sum() for colour in ((0, 114, 178), (213, 94, 0))
    )
    assert blue > 100
    assert orange > 100
