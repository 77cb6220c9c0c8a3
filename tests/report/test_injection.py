"""A folder in which every text is an attack makes a report in which none of them does anything."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tailgrad.report import write_report

pytestmark = pytest.mark.long

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--virtual-time-budget=20000",
)
ATTACK = (
    "</script></style></title>--><script>document.title='ran'</script>"
    "<img src=x onerror=\"document.title='ran'\"><a href=\"javascript:document.title='ran'\">a</a>"
    "<svg onload=document.title='ran'>{{ 7*7 }}<!--\u2028%{x}"
)
KEPT = {"format", "$kind", "$array", "metric", "method", "methods", "against", "verdict", "status"}
TAGS = frozenset(
    re.findall(
        r"[\w-]+",
        "html head meta title style body a header h1 h2 ul li main section div span p nav noscript "
        "h3 img button label select option "
        "strong figure figcaption script details summary table caption thead tbody tr th td footer",
    )
)


def attacked(value: Any, key: str = "") -> Any:
    """Every text made an attack, but for those that files refer to one another by."""
    if isinstance(value, dict):
        return {name: attacked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [attacked(item, key) for item in value]
    return f"{value}{ATTACK}" if isinstance(value, str) and key not in KEPT else value


def attack(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.suffix == ".json":
            path.write_text(json.dumps(attacked(json.loads(path.read_text(encoding="utf-8")))))
        elif path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").split("\n")
            path.write_text("\n".join(json.dumps(attacked(json.loads(line))) for line in lines if line))
        elif path.suffix == ".yaml":
            path.write_text(yaml.safe_dump(attacked(yaml.safe_load(path.read_text(encoding="utf-8")))))


@pytest.fixture(scope="module", params=["run", "study"])
def page(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_run: Callable[..., Any],
    make_study: Callable[..., Any],
) -> Path:
    folder = tmp_path_factory.mktemp("attacked") / f"<b onclick=alert(1)>{request.param}"
    make_run(folder) if request.param == "run" else make_study(folder)
    attack(folder)
    return write_report(folder)


class Reader(HTMLParser):
    """What a browser would take for tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.targets: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets |= {str(value) for name, value in attrs if name in ("href", "src")}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_no_tag_and_no_attribute_but_ours(page: Path) -> None:
    reader = Reader()
    html = page.read_text(encoding="utf-8")
    reader.feed(html)
    assert set(reader.tags) <= TAGS
    assert not {name for name in reader.attributes if name.startswith("on")}
    assert all(target.startswith(("#", "data:image/")) for target in reader.targets)
    assert reader.tags.count("script") == 2 + reader.tags.count("figure") + reader.tags.count("select") // 2
    assert "document.title='ran'" in "".join(reader.text)  # the attacks are there, as words
    assert "{{ 7*7 }}" in html
    assert "\u2028" not in "".join(re.findall(r'<script type="application/json">(.*?)</script>', html))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")
def test_no_browser_runs_any_of_it(page: Path, tmp_path: Path) -> None:
    html = page.read_text(encoding="utf-8").replace("<details>", "<details open>")
    # Even an attack that got past the escapes would be stopped by the policy of the page.
    past = "<script>document.body.dataset.past='ran'</script><img src=x onerror=\"document.title='ran'\">"
    (tmp_path / "page.html").write_text(html.replace("<footer>", f"{past}<footer>"), encoding="utf-8")
    words = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*words, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=180, check=True
    )
    dom = done.stdout
    assert dom.count('data-drawn="yes"') == dom.count('class="plot"') > 3  # our scripts did run
    assert "data-past" not in dom
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert title
    assert title[1] != "ran"
    drawn = re.sub(r"<(script|style)\b.*?</\1>", "", dom, flags=re.DOTALL)
    assert not re.search(r"<[^>]+\shref=\"javascript:", drawn)
    assert not re.search(r"<svg onload", drawn)
