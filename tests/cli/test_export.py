"""``tailgrad export`` and what ``tailgrad predict`` does with it, at the command line."""

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def model(cli: Any, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("shipped") / "model.onnx"
    done = cli("export", run, "--onnx", "--out", place)
    assert done.status == 0, done.err
    assert re.fullmatch(rf"model: {re.escape(str(place))} \(\d+\.\d\d MB, float32\)\n", done.out)
    assert "the run is not calibrated" in done.err
    assert re.search(r"agrees with PyTorch to \d\.\de-\d\d on \d+ test images", done.err)
    return place


def test_int8_prints_a_row_a_class(cli: Any, run: Path, here: Path) -> None:
    done = cli("export", run, "--onnx", "--int8", "--out", "small.onnx", "--quiet")
    assert (done.status, done.err) == (0, "")
    for name in ("round", "square", "thin"):
        line = next(line for line in done.out.splitlines() if line.startswith(name))
        assert len(re.findall(r"[01]\.\d{3} \[[01]\.\d{3}, [01]\.\d{3}\]", line)) == 2
    assert re.search(r"\d+ of \d+ predictions change; .* \(exact McNemar p = ", done.out)


def test_predictions_go_to_a_csv(cli: Any, model: Path, photos: Path, here: Path) -> None:
    (here / "bad.png").write_bytes(b"no image")
    words = ["predict", model, photos / "thin", "bad.png", "--csv", "out.csv", "--top-k", 3, "--abstain", 1]
    done = cli(*words)
    assert (done.status, done.out) == (0, "predictions: out.csv\n")
    assert done.err.startswith("unreadable: bad.png (")
    rows = list(csv.DictReader((here / "out.csv").read_text().splitlines()))
    assert [row["abstained"] for row in rows] == ["true"] * 6 + [""]
    assert {row["class_3"] for row in rows[:-1]} <= {"round", "square", "thin"}
    plain = cli("predict", model, photos / "thin", "--top-k", 2, "--abstain", 1)
    assert re.match(r"file +class +probability +also +abstained\n", plain.out)
    assert len(re.findall(r"(?m) [01]\.\d{3}  \w+ [01]\.\d{3} +yes$", plain.out)) == 6


def test_a_target_prior_moves_what_is_predicted(cli: Any, model: Path, photos: Path, here: Path) -> None:
    (here / "there.yaml").write_text("round: 0\nsquare: 0\nthin: 1\n")
    done = cli("predict", model, photos, "--target-prior", "there.yaml", "--json")
    assert {row["name"] for row in json.loads(done.out)["predictions"]} == {"thin"}


def test_a_folder_in_the_layout_of_the_hub(cli: Any, run: Path, photos: Path, here: Path) -> None:
    done = cli("export", run, "--pretrained", "mine", "--json")
    assert json.loads(done.out) == {"folder": "mine"}
    shown = cli("predict", "mine", photos / "thin")
    assert shown.out == cli("predict", run, photos / "thin").out
    assert "new or empty" in cli("export", run, "--pretrained", "mine").error


def test_two_forms_at_once_are_both_written_or_neither(cli: Any, run: Path, here: Path) -> None:
    both = ["export", run, "--onnx", "--out", "m.onnx", "--pretrained", "mine", "--json"]
    assert "got none for square, thin" in cli(*both, "--target-prior", "round=1").error
    assert not list(here.iterdir())
    (here / "mine").mkdir()
    (here / "mine" / "kept.txt").write_text("mine")
    assert "new or empty" in cli(*both).error
    assert [path.name for path in here.rglob("*")] == ["mine", "kept.txt"]
    (here / "mine" / "kept.txt").unlink()
    done = json.loads(cli(*both).out)
    assert (done["file"], done["folder"], done["bytes"]) == (
        "m.onnx",
        "mine",
        (here / "m.onnx").stat().st_size,
    )
    assert json.loads((here / "mine" / "config.json").read_text())["tailgrad"]["names"] == list(
        done["description"]["names"]
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --onnx or --pretrained FOLDER"),
        (["--pretrained", "x", "--out", "m.onnx"], "--out is for --onnx"),
        (["--pretrained", "x", "--target-prior", "uniform"], "--target-prior is for --onnx"),
        (["--onnx", "--out", "m.onnx", "--target-prior", "round=1"], "got none for square, thin"),
        (["--onnx", "--out", "m.onnx", "--abstain", "7"], "abstain must be in"),
    ],
)
def test_bad_wishes_are_one_line(cli: Any, run: Path, here: Path, words: list[str], said: str) -> None:
    assert said in cli("export", run, *words).error
    assert not list(here.iterdir())


def test_bad_models_are_one_line(cli: Any, model: Path, photos: Path, here: Path) -> None:
    assert "without config.yaml" in cli("export", "missing", "--onnx").error
    assert "without config.yaml" in cli("predict", "missing", photos).error
    data = bytearray(model.read_bytes())
    data[1000] ^= 8
    (here / "bad.onnx").write_bytes(data)
    assert "altered or damaged" in cli("predict", "bad.onnx", photos).error
    (here / "list.csv").write_text("file\na.png\n")
    assert "got 'file'" in cli("predict", model, "list.csv").error
    listed = f"path\n{next((photos / 'thin').iterdir())}\n"
    (here / "list.csv").write_text(listed)
    assert "--csv must be another file" in cli("predict", model, "list.csv", "--csv", "list.csv").error
    assert (here / "list.csv").read_text() == listed


def test_the_missing_extra_is_named(
    cli: Any, run: Path, model: Path, photos: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for words in (["export", run, "--onnx", "--out", "m.onnx"], ["predict", model, photos]):
        assert "pip install 'tailgrad[onnx]'" in cli(*words).error
