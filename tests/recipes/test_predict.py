"""Predictions of image files against what the run itself wrote, and against the network applied by hand."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.files import write_json
from tailgrad.recipes import RunFolder, predict
from tailgrad.recipes.restore import Restored, restore


@pytest.fixture(scope="module")
def stored(run: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    return rows


@pytest.fixture
def with_focus(run: Any, tmp_path: Path) -> Callable[[str, float], Path]:
    """A copy of the run with another class in focus."""

    def make(name: str, threshold: float) -> Path:
        copy = Path(shutil.copytree(run.folder, tmp_path / "focus"))
        focus = {"class": name, "threshold": threshold}
        write_json(copy / "result.json", RunFolder(copy).result() | {"focus": focus})
        return copy

    return make


@pytest.fixture(scope="module")
def restored(run: Any) -> Restored:
    return restore(run.folder)


def softmax(logits: Any) -> np.ndarray:
    raised = np.exp(np.asarray(logits, dtype=float) - max(logits))
    return raised / raised.sum()


def test_images_of_the_run_are_classified_as_the_run_did(
    run: Any, photos: Path, stored: list[dict[str, Any]]
) -> None:
    found = predict(run.folder, [photos / row["name"] for row in stored])
    assert {row["part"] for row in stored} == {"val", "test"}
    for one, row in zip(found, stored, strict=True):
        wanted = softmax(row["logits"])
        assert one.probabilities == pytest.approx(tuple(wanted), abs=1e-5)
        assert one.name == run.result["classes"]["names"][int(np.argmax(row["logits"]))]
        assert one.probability == max(one.probabilities)


def test_probabilities_are_those_of_the_network_applied_by_hand(
    run: Any, photos: Path, restored: Restored
) -> None:
    path = photos / "round" / "03.png"
    pixels = torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)[None]
    scaled = (pixels.float() / 255 - torch.tensor(restored.normalize.mean)[:, None, None]) / torch.tensor(
        restored.normalize.std
    )[:, None, None]
    with torch.no_grad():
        logits = restored.model(scaled)[0].tolist()
    (found,) = predict(run.folder, [path])
    assert found.probabilities == pytest.approx(tuple(softmax(logits)), abs=1e-5)
    assert sum(found.probabilities) == pytest.approx(1)


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_the_size_of_a_batch_changes_nothing(
    run: Any, photos: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    whole = predict(run.folder, [photos / "thin"])
    monkeypatch.setitem(predict.__globals__, "BATCH", batch)
    parts = predict(run.folder, [photos / "thin"])
    assert [one.file for one in parts] == [one.file for one in whole]
    np.testing.assert_allclose(
        [one.probabilities for one in parts], [one.probabilities for one in whole], atol=1e-6
    )


def test_folders_are_searched_and_keep_the_order_given(run: Any, photos: Path, tmp_path: Path) -> None:
    deep = tmp_path / "deep" / "er"
    shutil.copytree(photos / "thin", deep)
    (deep / "notes.txt").write_text("not an image")
    (deep / "01.PNG").write_bytes((deep / "01.png").read_bytes())
    alone = photos / "round" / "00.png"
    found = predict(run.folder, [alone, tmp_path / "deep", alone])
    wanted = [alone, *sorted(p for p in deep.iterdir() if p.suffix.lower() == ".png"), alone]
    assert [one.file for one in found] == [str(p) for p in wanted]
    assert found[0] == found[-1]
    by_name = {Path(one.file).name: one.probabilities for one in found}
    assert by_name["01.PNG"] == pytest.approx(by_name["01.png"], abs=1e-6)


def test_an_unreadable_image_is_named_in_its_place(run: Any, photos: Path, tmp_path: Path) -> None:
    good = [photos / "thin" / f"{i:02d}.png" for i in range(3)]
    cut, empty = tmp_path / "cut.png", tmp_path / "empty.jpg"
    cut.write_bytes(good[0].read_bytes()[:300])
    empty.touch()
    found = predict(run.folder, [good[0], cut, good[1], empty, good[2]])
    assert [bool(one.error) for one in found] == [False, True, False, True, False]
    assert [(one.name, one.probabilities) for one in found if one.error] == [("", ())] * 2
    assert all(np.isnan(one.probability) for one in found if one.error)
    alone = [one for path in good for one in predict(run.folder, [path])]
    assert [one.name for one in found if not one.error] == [one.name for one in alone]


def test_only_unreadable_images_make_no_crash(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"GIF87a")
    (found,) = predict(run.folder, [tmp_path])
    assert found.error
    assert found.file == str(tmp_path / "a.png")


@pytest.mark.parametrize("shape", [(48, 96), (100, 30), (20, 20)])
def test_other_sizes_are_brought_to_the_size_of_the_run(
    run: Any, restored: Restored, tmp_path: Path, shape: tuple[int, int]
) -> None:
    random = np.random.default_rng(shape)
    image = Image.fromarray(random.integers(0, 256, (*shape, 3), dtype=np.uint8))
    image.save(tmp_path / "other.png")
    assert (restored.size, restored.resize) == ((48, 48), "squash")
    image.resize((48, 48), Image.Resampling.BILINEAR).save(tmp_path / "same.png")
    other, same = predict(run.folder, [tmp_path / "other.png", tmp_path / "same.png"])
    assert other.probabilities == pytest.approx(same.probabilities, abs=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_pictures_of_other_modes_are_read_as_colour(run: Any, tmp_path: Path, mode: str) -> None:
    shades = np.random.default_rng(3).integers(0, 256, (48, 48), dtype=np.uint8)
    grey = Image.fromarray(shades)
    grey.convert("RGB").save(tmp_path / "plain.png")
    grey.convert("RGBA" if mode == "RGBA" else mode).save(tmp_path / "mode.png")
    plain, other = predict(run.folder, [tmp_path / "plain.png", tmp_path / "mode.png"])
    assert other.probabilities == pytest.approx(plain.probabilities, abs=1e-5)


@pytest.mark.parametrize("name", ["round", "square", "thin"])
def test_a_threshold_decides_for_the_class_in_focus(
    run: Any, photos: Path, with_focus: Callable[[str, float], Path], name: str
) -> None:
    names = run.result["classes"]["names"]
    k = names.index(name)
    plain = predict(run.folder, [photos])
    scores = np.array([one.probabilities for one in plain])
    threshold = float(np.median(scores[:, k]))
    found = predict(with_focus(name, threshold), [photos])
    alarms = [one.name == name for one in found]
    assert alarms == [one.probabilities[k] >= threshold for one in found]
    assert 0 < sum(alarms) < len(alarms)
    for one in found:
        others = [p for j, p in enumerate(one.probabilities) if j != k]
        wanted = threshold <= one.probabilities[k]
        assert one.probability == (one.probabilities[k] if wanted else max(others))
        assert one.probability == one.probabilities[names.index(one.name)]


@pytest.mark.parametrize(("threshold", "share"), [(0.0, 1.0), (1.1, 0.0)])
def test_extreme_thresholds_name_all_or_none(
    run: Any, photos: Path, with_focus: Callable[[str, float], Path], threshold: float, share: float
) -> None:
    found = predict(with_focus("thin", threshold), [photos / "round"])
    assert np.mean([one.name == "thin" for one in found]) == share


def test_bad_places_are_refused(run: Any, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.png, which does not exist"):
        predict(run.folder, [photos / "thin", tmp_path / "nowhere.png"])
    with pytest.raises(InputError, match="at least one image"):
        predict(run.folder, [tmp_path])
    with pytest.raises(InputError, match="at least one image"):
        predict(run.folder, [])
