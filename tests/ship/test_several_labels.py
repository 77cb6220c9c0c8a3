"""Runs of several labels an image as artefacts: labels by their thresholds, in every form the same."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from typer.testing import CliRunner

from tailgrad.checks import InputError
from tailgrad.cli.app import app
from tailgrad.evaluate.label_thresholds import LabelThresholds, probabilities
from tailgrad.files import write_json
from tailgrad.recipes import RunFolder, train
from tailgrad.recipes import predict as predict_by_run
from tailgrad.ship import (
    Artefact,
    Exported,
    export,
    from_pretrained,
    predict,
    save_pretrained,
    write_predictions,
)
from tailgrad.ship.decision import labelled, sigmoid
from tailgrad.ship.description import SEVERAL, Description, Preprocessing
from tailgrad.ship.int8 import cost

QUICK: dict[str, Any] = {
    "data": {"size": 32, "near_duplicates": False, "labels_column": "labels"},
    "model": {"name": "resnet8"},
    "train": {"epochs": 1, "batch_size": 16, "precision": "float32", "channels_last": False},
    "interference": {"enabled": False},
}
LABELS = ("blue", "green", "red")
FORM = Preprocessing(size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images; a channel is bright where the image has its label, and some have none."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    lines = ["path,labels"]
    for i in range(60):
        has = random.random(3) < (0.6, 0.4, 0.3)
        pixels = random.integers(0, 90, (32, 32, 3), dtype=np.uint8) + 120 * has.astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{i:02d}.png")
        lines.append(f"{i:02d}.png,{';'.join(name for name, one in zip(LABELS, has, strict=True) if one)}")
    (root / "list.csv").write_text("\n".join(lines) + "\n")
    return root / "list.csv"


@pytest.fixture(scope="module")
def run(listed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose thresholds differ, so that no other rule gives the same labels."""
    found = train(
        listed, "quick", method="asl", overrides=QUICK, out=tmp_path_factory.mktemp("runs") / "one"
    ).folder
    result = RunFolder(found).result()
    images = [listed.parent / f"{i:02d}.png" for i in range(60)]
    shares = np.array([one.probabilities for one in predict_by_run(found, images)])
    for k, share in enumerate((0.3, 0.5, 0.7)):
        ends = np.sort(shares[:, k])[int(share * 60) - 1 : int(share * 60) + 1]
        result["thresholds"][k]["value"] = result["test"]["classes"][k]["threshold"] = float(ends.mean())
    write_json(found / "result.json", result)
    return found


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(run, tmp_path_factory.mktemp("shipped") / "model.onnx")


def test_the_description_has_thresholds_and_no_prior(run: Path, exported: Exported) -> None:
    about, result = exported.description, RunFolder(run).result()
    assert (about.task, about.names) == (SEVERAL, LABELS)
    assert about.thresholds == tuple(row["value"] for row in result["thresholds"])
    assert (about.prior, about.ledger, about.temperature) == (None, {}, 1.0)
    rows = result["test"]["classes"]
    assert [row["average_precision"]["low"] for row in about.per_class] == [
        row["average_precision"]["low"] for row in rows
    ]
    assert (
        about.headline["mean_average_precision"]["value"] == result["test"]["mean_average_precision"]["value"]
    )
    assert any("any number of labels" in line for line in about.limits)
    assert not any("given one of them" in line for line in about.limits)
    assert about.check["difference"] <= 1e-4


def test_every_form_gives_the_labels_of_the_run(
    run: Path, exported: Exported, listed: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    images = [listed.parent, tmp_path / "bad.png"]
    wanted = predict(run, images, top_k=2)
    assert len({one.name for one in wanted}) > 3
    assert [one.error != "" for one in wanted] == [False] * 60 + [True]
    save_pretrained(run, tmp_path / "folder")
    for form in (exported.file, tmp_path / "folder"):
        found = predict(form, images, top_k=2)
        for one, other in zip(found, wanted, strict=True):
            assert (one.file, one.labels, one.error) == (other.file, other.labels, other.error)
            assert one.labels is not None
            assert one.name == "; ".join(one.labels)
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
            assert [name for name, _ in one.top] == [name for name, _ in other.top]


def test_the_command_line_and_csv_speak_of_labels(run: Path, listed: Path, tmp_path: Path) -> None:
    images = [listed.parent / f"{i:02d}.png" for i in range(60)]
    wanted = predict(run, images, top_k=3)
    assert any(one.labels == () for one in wanted)
    shown = CliRunner().invoke(app, ["predict", str(run), str(listed.parent), "--top-k", "3"])
    head, *rows = shown.output.splitlines()
    assert head.split() == ["file", "labels", "highest", "also"]
    found = {Path(row.split()[0]).name: row for row in rows if ".png" in row}
    for path, one in zip(images, wanted, strict=True):
        left = [name for name, _ in one.top if name not in (one.labels or ())]
        assert f"{', '.join(one.labels or ()) or 'none'}  " in found[path.name]
        assert re.findall(r"([a-z]+) \d\.\d+", found[path.name].split(f"{one.probability:.3f}", 1)[1]) == left
    table = tmp_path / "out.csv"
    write_predictions(table, wanted)
    with table.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0])[3:9] == [f"{what}_{k}" for k in (1, 2, 3) for what in ("label", "probability")]
    assert [row["label_1"] for row in read] == [one.top[0][0] for one in wanted]


def test_any_onnx_runtime_gets_a_probability_a_label(exported: Exported) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 3, 32, 32), np.uint8)
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    logits, shares = session.run(["logits", "probabilities"], {"images": pixels})
    np.testing.assert_allclose(shares, probabilities(logits), atol=1e-6)
    np.testing.assert_allclose(Artefact(exported.file).probabilities(logits), shares, atol=1e-6)


def test_the_card_tells_labels_with_thresholds_and_average_precision(run: Path, tmp_path: Path) -> None:
    card = (save_pretrained(run, tmp_path / "folder") / "README.md").read_text()
    about = from_pretrained(tmp_path / "folder").description
    assert "| label | training images | test images | threshold | precision |" in card
    for row in about.per_class:
        assert f"| {row['name']} | {row['train_count']} | {row['support']} | {row['threshold']:.3f} |" in card
    assert "any of 3 labels" in card
    assert "Class prior" not in card
    told = yaml.safe_load(card.split("---")[1])["model-index"][0]["results"][0]["metrics"]
    assert {one["type"] for one in told} == {"macro_f1", "mean_average_precision", "macro_auc"}
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"


def test_int8_is_judged_label_by_label(run: Path, listed: Path, tmp_path: Path) -> None:
    made = export(run, tmp_path / "small.onnx", int8=True)
    found = made.description.int8
    assert [row["name"] for row in found["classes"]] == list(LABELS)
    test = json.loads((run / "split.json").read_text())["parts"]["test"]
    has = np.array([[k in labels for k in range(3)] for labels in test["labels"]])
    images = [listed.parent / name for name in test["names"]]
    before, after = (
        np.array([[name in one.name.split("; ") for name in LABELS] for one in predict(form, images)])
        for form in (run, made.file)
    )
    for k, row in enumerate(found["classes"]):
        assert row["support"] == has[:, k].sum()
        assert row["changed"] == (before[:, k] != after[:, k]).sum()
        assert row["before"]["value"] == pytest.approx(before[has[:, k], k].mean())
        assert row["precision_after"]["value"] == pytest.approx(has[after[:, k], k].mean())
    assert found["changed"] == (before != after).any(1).sum()


@pytest.mark.parametrize("asked", [{"abstain": 0.5}, {"target_prior": "uniform"}])
def test_what_is_of_one_class_is_refused(
    run: Path, exported: Exported, listed: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    words = f"{next(iter(asked))} must be left out for a run of several labels"
    save_pretrained(run, tmp_path / "folder")
    for form in (run, exported.file, tmp_path / "folder"):
        with pytest.raises(InputError, match=words):
            predict(form, [listed.parent], **asked)
    with pytest.raises(InputError, match=words):
        export(run, tmp_path / "m.onnx", **asked)
    with pytest.raises(InputError, match="calibrate must be left out"):
        export(run, tmp_path / "m.onnx", calibrate=True)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        ([{"value": 0.5}] * 2, "thresholds has 2 entries for 3"),
        ([{"value": 1.5}] * 3, "threshold must be in"),
    ],
)
def test_thresholds_of_another_run_are_refused(
    run: Path, tmp_path: Path, thresholds: list[dict[str, float]], words: str
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    write_json(copy / "result.json", RunFolder(copy).result() | {"thresholds": thresholds})
    with pytest.raises(InputError, match=words):
        export(copy, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"task": SEVERAL}, "thresholds of labels are missing"),
        ({"thresholds": (0.5, 0.5)}, "thresholds of labels are there"),
        ({"task": SEVERAL, "thresholds": (0.5, 0.5), "prior": (0.5, 0.5)}, "several labels"),
        ({"task": SEVERAL, "thresholds": (0.5, 0.5), "temperature": 2.0}, "several labels"),
        ({"task": SEVERAL, "thresholds": (0.5, 0.5, 0.5)}, "thresholds has 3 entries for 2"),
        ({"task": SEVERAL, "thresholds": (0.5, 2.0)}, "less than or equal to 1"),
    ],
)
def test_a_description_of_labels_must_be_whole(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Description(names=("a", "b"), counts=(9, 1), preprocessing=FORM, **fields)


Z = arrays(np.float64, (4, 3), elements=st.floats(-60, 60))
T = arrays(np.float64, 3, elements=st.floats(0, 1))


@given(Z, T)
@settings(max_examples=50, deadline=None)
def test_labels_are_those_that_evaluation_counts(z: np.ndarray, thresholds: np.ndarray) -> None:
    wanted = LabelThresholds(thresholds, (True,) * 3).apply(z)
    for row, has in zip(sigmoid(z), wanted, strict=True):
        said = labelled("a.png", row, LABELS, thresholds.tolist()).name.split("; ")
        assert [name in said for name in LABELS] == [bool(one) for one in has]


Marks = arrays(np.int64, (6, 2), elements=st.integers(0, 1))


@given(Marks, Marks, Marks)
@settings(max_examples=50, deadline=None)
def test_the_cost_of_labels_by_counting(before: np.ndarray, after: np.ndarray, target: np.ndarray) -> None:
    found = cost(before, after, target, ["a", "b"])
    rights = [[list(z) == list(y) for z, y in zip(zs, target, strict=True)] for zs in (before, after)]
    assert found["only_before"] == sum(one and not other for one, other in zip(*rights, strict=True))
    assert found["only_after"] == sum(other and not one for one, other in zip(*rights, strict=True))
    for k, row in enumerate(found["classes"]):
        hits = [i for i in range(6) if target[i, k] and before[i, k]]
        assert row["before"]["value"] == pytest.approx(len(hits) / max(1, target[:, k].sum()))
        assert row["precision_before"]["value"] == pytest.approx(len(hits) / max(1, before[:, k].sum()))
