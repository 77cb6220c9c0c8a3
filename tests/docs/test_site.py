"""The site builds without a warning, and its pages fetch nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert pages <= {page.stem for page in site.glob("*.html")}
    assert not list(site.glob("*.py"))


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:link|script|img|iframe)[^>]+(?:src|href)="?((?:https?:)?//[^" >]+)', text)
        assert not fetched, f"{page.name} fetches {fetched[0]}"


def test_docstrings_are_shown_with_their_parts(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in ("tailgrad.interference.measure.measure", "tailgrad.heads.csba.CSBA"):
        assert f'id="{name}"' in page
    # One example section for each public name that has one, none left as a quotation of its prompts.
    assert page.count("Examples:") > 50
    assert "<blockquote>" not in page
