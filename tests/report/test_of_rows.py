"""Reports of runs on tables: they say rows where those on images say images, and change nothing else."""

import html
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tailgrad.cli.app import app
from tailgrad.recipes import compare
from tailgrad.report.of_rows import in_rows
from tailgrad.report.write_report import write_report

CLASSES = ("images of spies", "image", "plain")


def seen(page: Path) -> str:
    """What a reader of the page sees: no scripts, no style, no marks."""
    text = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of two methods on 150 rows, whose classes are called as the words that must change."""
    random, which = np.random.default_rng(0), np.arange(150) % 3
    columns = {f"x{j}": random.normal(size=150) + which * (j == 0) for j in range(3)}
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    pyarrow.csv.write_csv(pa.table({**columns, "kind": [CLASSES[k] for k in which]}), path)
    tiny = {
        "data": {"target": "kind"},
        "model": {"options": {"hidden": [8]}},
        "train": {"epochs": 2, "threads": 1},
        "interference": {"max_per_class": 8, "folds": 2},
    }
    out = path.parent / "study"
    compare(path, ["ce", "balanced_softmax"], seeds=2, overrides=tiny, out=out, console=None)
    return out


def test_a_report_of_rows_speaks_of_images_in_names_only(study: Path) -> None:
    first = next((study / "runs").iterdir())
    for folder in (study, first):
        said = seen(write_report(folder))
        for word in CLASSES:
            assert word in said
        for own in ("images of spies", "report.images", "'image'"):
            said = said.replace(own, "")
        left = re.findall(r".{0,30}\b[Ii]mages?\b.{0,20}", said)
        # What remains is the class of that name, in a table or quoted by a sentence.
        assert not [text for text in left if re.search(r"images\b|Image", text)], left
        assert "test rows" in said
        assert "training rows" in said
        assert "in examples" not in said  # no pictures, and no heading without any


def test_reliability_on_the_command_line(study: Path) -> None:
    run = next((study / "runs").iterdir())
    found = CliRunner().invoke(app, ["reliability", str(run)])
    assert found.exit_code == 0
    for name in CLASSES:
        assert name in found.output
    assert "validation rows" in found.output
    assert "images" not in found.output.replace("images of spies", "")


@dataclass(frozen=True)
class Told:
    text: str
    count: int
    held: tuple[list[str], ...]


def test_every_text_inside_is_reached_and_keys_stay() -> None:
    told = Told("Images of an image", 3, (["image by image"],))
    assert in_rows(told, []) == Told("Rows of a row", 3, (["row by row"],))
    assert in_rows({"images": "images"}, []) == {"images": "rows"}


@pytest.mark.parametrize(
    "text", ["--no-images", "report.images", "train_images", "images=false", "imagery", "ImageNet"]
)
def test_options_settings_and_other_words_stay(text: str) -> None:
    assert in_rows(text, []) == text


@given(st.lists(st.text("imagesn ", min_size=1, max_size=8), max_size=4), st.text("imagesn ", max_size=20))
def test_it_is_done_once_and_leaves_texts_without_the_word(names: list[str], text: str) -> None:
    found = in_rows(text, names)
    assert in_rows(found, names) == found or any("mage" in name for name in names)
    if "mage" not in text:
        assert found == text
