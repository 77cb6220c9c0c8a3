"""Example images: the right ones, small, switched off when asked, and gone where the data are gone."""

import io
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from tailgrad.data import open_source
from tailgrad.report import write_report
from tailgrad.report.examples import OFF, examples
from tailgrad.report.folders import Run, read_run
from tailgrad.report.thumbnails import SIDE, data_address

NAMES = ("Straße 雪", "b", "c c")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey levels that say which image it is."""
    root = tmp_path_factory.mktemp("data") / "my photos ü"
    for k, name in enumerate(NAMES):
        (root / name).mkdir(parents=True)
        for i in range(12):
            shade = np.full((60, 90, 3), 20 * i + 5 * k, np.uint8)
            Image.fromarray(shade).save(root / name / f"{i:02d}.png")
    return root


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., Any]) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "one"
    make_run(folder, names=NAMES, counts=(60, 30, 5), moments=())
    found = read_run(folder)
    matrix = np.asarray(found.test.confusion)
    rows = [(k, j) for k in range(3) for j in range(3) for _ in range(matrix[k, j])]
    seen = [0, 0, 0]
    columns: dict[str, list[Any]] = {"part": [], "name": [], "target": [], "predicted": []}
    for k, j in rows:
        columns["name"].append(f"{NAMES[k]}/{seen[k] % 12:02d}.png")
        seen[k] += 1
        columns["part"].append("test")
        columns["target"].append(k)
        columns["predicted"].append(j)
    pq.write_table(pa.table(columns), folder / "predictions.parquet")
    (folder / "config.yaml").write_text(yaml.safe_dump({"source": str(photos), "data": {}}))
    return read_run(folder)


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(b64decode(address.split(",")[1]))).convert("RGB"))


def test_mistakes_are_shown_beside_images_of_the_class_they_are_taken_for(run: Run) -> None:
    found = examples(run)
    assert found.mistakes is not None
    matrix = np.asarray(run.test.confusion)
    for title, pictures in found.mistakes.rows:
        true, rest = title.split(" taken for ")
        predicted, count = rest.rsplit(": ", 1)
        k, j = NAMES.index(true), NAMES.index(predicted)
        assert count == f"{matrix[k, j]} images"
        wrong = [one for one in pictures if one.tone == "warn"]
        assert 1 <= len(wrong) <= 4
        assert all(one.caption == f"is {true}" and one.alt.startswith(f"test image {true}/") for one in wrong)
        right = [one for one in pictures if one.tone == "fine"]
        assert all(one.alt.startswith(f"test image {predicted}/") for one in right)


def test_copies_are_small_and_of_the_image_they_name(run: Run) -> None:
    found = examples(run)
    assert found.hurt is not None
    for _, pictures in found.hurt.rows:
        for one in pictures:
            drawn = pixels(one.data)
            assert max(drawn.shape) == 90 <= SIDE
            name, number = one.alt.removeprefix("test image ").split("/")
            shade = 20 * int(number.split(".")[0]) + 5 * NAMES.index(name)
            assert abs(float(drawn.mean()) - shade) < 2


def test_large_images_shrink_and_lose_their_metadata_and_tiny_ones_stay_exact() -> None:
    random = np.random.default_rng(0)
    large = data_address(random.integers(0, 255, (600, 900, 3), dtype=np.uint8))
    assert large.startswith("data:image/jpeg")
    assert pixels(large).shape[:2] == (75, SIDE)
    assert len(large) < 20_000
    tiny = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels(data_address(tiny)), tiny)


@pytest.mark.parametrize("how", ["asked", "configured"])
def test_images_are_switched_off(run: Run, how: str) -> None:
    off = run.config | {"report": {"images": False}}
    found = examples(run, shown=False) if how == "asked" else examples(replace(run, config=off))
    assert (found.mistakes, found.hurt, found.why) == (None, None, OFF)
    assert found.of_mistakes[0].text == OFF
    assert found.of_hurt == ()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"source": "nowhere/photos"}, "'nowhere/photos' cannot be opened"),
        ({"source": "cifar10"}, "'cifar10' cannot be opened"),  # nothing is fetched for a report
        ({}, "does not say where its data lie"),
    ],
)
def test_data_that_are_gone_are_said_to_be(run: Run, config: dict[str, Any], words: str) -> None:
    found = examples(replace(run, config=config))
    assert words in found.of_mistakes[0].text
    assert found.of_mistakes[0].text.startswith("No example images: ")


def test_other_data_under_the_same_path_show_nothing(run: Run) -> None:
    found = examples(run, source=open_source("digits-lt"))
    assert "none of the" in found.why


def test_an_open_source_is_used_as_it_is(run: Run, photos: Path) -> None:
    gone = replace(run, config={"source": "gone"})
    assert examples(gone, source=open_source(photos)).mistakes == examples(run).mistakes


def test_without_predictions_the_report_says_so(run: Run, tmp_path: Path) -> None:
    assert "predictions.parquet is not" in examples(replace(run, path=tmp_path)).why
    (tmp_path / "predictions.parquet").write_bytes(b"no parquet")
    assert "cannot be read" in examples(replace(run, path=tmp_path)).why


def test_reports_hold_images_unless_told_otherwise(run: Run) -> None:
    assert run.path is not None
    with_images = write_report(run.path).read_text(encoding="utf-8")
    without = write_report(run.path, images=False).read_text(encoding="utf-8")
    assert with_images.count("<img ") > 5
    assert "--no-images" in with_images
    assert without.count("<img ") == 0
    assert OFF in without
