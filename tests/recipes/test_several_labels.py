"""A run whose images have several labels, from the list to the report, and what does not fit it."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from tailgrad.checks import InputError
from tailgrad.interference.label_conflict import LabelConflict
from tailgrad.recipes import compare, diagnose, predict, train
from tailgrad.recipes.compose import compose, validate
from tailgrad.recipes.configure import configure
from tailgrad.recipes.several_labels import SEVERAL_LABELS, label_methods
from tailgrad.recipes.single_label import SINGLE_LABEL
from tailgrad.recipes.task import task_of
from tailgrad.ship import predict as shipped

QUICK: dict[str, Any] = {
    "train": {"epochs": 1, "precision": "float32", "channels_last": False, "threads": 1},
    "interference": {"max_per_class": 4, "folds": 3},
}
BARE: dict[str, Any] = {**QUICK, "interference": {"enabled": False}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("several") / "run"
    return train("digits-multi-lt", method="distribution_balanced", overrides=QUICK, out=out, console=None)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty pictures whose left or right half is bright, or both, or none."""
    rng, rows = np.random.default_rng(0), []
    for i in range(40):
        left, right = i % 2, (i // 2) % 2
        pixels = rng.integers(0, 60, (16, 16))
        pixels[:, :8] += 180 * left
        pixels[:, 8:] += 180 * right
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{i}.png")
        names = [name for name, has in (("left", left), ("right", right)) if has]
        rows.append({"path": f"{i}.png", "labels": "|".join(names), "left": left, "right": right})
    with (tmp_path / "list.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "list.csv"


def test_a_run_stores_what_it_found(run: Any) -> None:
    result = run.result
    assert result["status"] == "finished"
    test = result["test"]
    assert (test["task"], test["images"], len(test["classes"])) == ("several_labels", 300, 10)
    assert [one["label"] for one in result["thresholds"]] == [str(k) for k in range(10)]
    stored = [
        row for row in pq.read_table(run.folder / "predictions.parquet").to_pylist() if row["part"] == "test"
    ]
    y = np.zeros((300, 10), int)
    for i, row in enumerate(stored):
        y[i, row["labels"]] = 1
    z = np.array([row["logits"] for row in stored])
    assert test["mean_average_precision"]["value"] == pytest.approx(average_precision_score(y, z))
    cuts = np.array([one["value"] for one in result["thresholds"]])
    assert [row["predicted"] for row in stored] == [
        np.flatnonzero(1 / (1 + np.exp(-row)) >= cuts).tolist() for row in z
    ]
    assert 0 <= run.macro_f1 <= 1


def test_label_gradients_are_measured_and_told(run: Any) -> None:
    for moment in ("early", "train", "heldout"):
        found = LabelConflict.load(run.folder / "interference" / moment)
        assert found.label_names == tuple(str(k) for k in range(10))
        assert found.images == 40
    told = run.result["label_gradients"]
    assert set(told) == {"early", "train", "heldout"}
    assert 0 <= told["early"]["tail_positive_share"] <= 1


def test_the_epoch_is_chosen_by_average_precision_and_the_loss_knows_the_images(run: Any) -> None:
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["val_mean_average_precision"] > 0
    assert np.isfinite(lines[0]["val_loss"])
    assert "monitor: mean_average_precision" in (run.folder / "config.yaml").read_text()


def test_the_report_shows_labels_and_their_conflict(run: Any) -> None:
    page = run.report.read_text()
    for words in ("Every label", "Excess conflict of labels", "share of positives", "mean average precision"):
        assert words in page


def test_new_images_get_the_labels_over_their_thresholds(photos: Path, tmp_path: Path) -> None:
    keys = {**BARE, "data": {"labels_column": "labels", "label_separator": "|", "near_duplicates": False}}
    keys["train"] = {**BARE["train"], "epochs": 8, "batch_size": 8}
    found = train(photos, regime="digits-multi", overrides=keys, out=tmp_path / "run", console=None)
    assert found.result["method"] == "bce"
    rows = predict(found.folder, [photos.parent / f"{i}.png" for i in range(4)] + [photos])
    assert rows[-1].error
    cuts = [one["value"] for one in found.result["thresholds"]]
    for row in rows[:-1]:
        wanted = [n for n, p, cut in zip(("left", "right"), row.probabilities, cuts, strict=True) if p >= cut]
        assert row.name == "; ".join(wanted)
        assert row.probability == max(row.probabilities)
    with pytest.raises(InputError, match="abstain must be left out for a run of several labels"):
        shipped(found.folder, [photos.parent / "0.png"], abstain=0.5)
    with pytest.raises(InputError, match="diagnose is for one class an image, got several labels"):
        diagnose(found.folder, console=None)


def test_columns_of_indicators_and_dropped_labels(photos: Path) -> None:
    config, source = configure(photos, overrides={"data": {"label_columns": ["right", "left"]}})
    assert (source.class_names, config.method, task_of(source).method) == (("right", "left"), "bce", "bce")
    with pytest.raises(InputError, match="at least 2 classes, got"):
        configure(photos, overrides={"data": {"label_columns": ["right", "left"], "drop_labels": ["left"]}})


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"loss": {"name": "focal"}}, r"got 'focal'; choose from binary_cross_entropy.*methods asl, bce"),
        ({"head": {"name": "etf"}}, "a logit of its own, got 'etf'; choose from baseline"),
        (
            {"sampler": {"name": "class_balanced"}},
            "sampler.name is for one class an image, got 'class_balanced'",
        ),
        ({"mixing": {"name": "mixup"}}, "mixing.name is for one class an image, got 'mixup'"),
        ({"combine": {"name": "pcgrad"}}, "combine.name is for one class an image, got 'pcgrad'"),
        ({"sharpness": {"name": "sam"}}, "sharpness.name is for one class an image"),
        ({"stages": [{"name": "crt", "head": "reset"}]}, "stages are for one class an image, got 'crt'"),
        ({"posthoc": [{"name": "class_thresholds"}]}, "posthoc methods are for one class an image"),
        ({"focus": "3"}, "focus is for one class an image, got '3'"),
        (
            {"train": {"monitor": "accuracy"}},
            "train.monitor must be a figure of several labels, got 'accuracy'",
        ),
        ({"data": {"imb_factor": 5}}, "long-tail profiles are for one class an image"),
        ({"data": {"label_noise": 0.1}}, "data.label_noise is for one class an image"),
        ({"interference": {"monitor_every": 5}}, "interference.monitor_every is for one class an image"),
        ({"train": {"devices": 2}}, "several processes are for one class an image"),
    ],
)
def test_what_does_not_fit_several_labels_is_refused(parts: dict[str, Any], words: str) -> None:
    given = {"loss": {"name": "binary_cross_entropy"}, **parts}
    config = SEVERAL_LABELS.settled(validate({"source": "x", **given}))
    with pytest.raises(InputError, match=words):
        SEVERAL_LABELS.check(config)


@pytest.mark.parametrize("name", ["multi_label_asymmetric", "pairwise_auc", "binary_cross_entropy"])
def test_losses_of_several_labels_are_refused_for_one_class_an_image(name: str) -> None:
    with pytest.raises(InputError, match=f"loss.name must take one class an image, got '{name}'"):
        SINGLE_LABEL.check(validate({"source": "x", "loss": {"name": name}}))
    with pytest.raises(InputError, match=r"stages\[0\].loss.name must take one class an image"):
        SINGLE_LABEL.check(validate({"source": "x", "stages": [{"name": "s", "loss": {"name": name}}]}))
    with pytest.raises(InputError, match="train.monitor must be a figure of one class an image"):
        SINGLE_LABEL.check(validate({"source": "x", "train": {"monitor": "macro_auc"}}))


def test_every_method_of_several_labels_fits_and_no_other_does() -> None:
    assert set(label_methods()) == {
        "asl",
        "bce",
        "distribution_balanced",
        "multi_label_soft_f1",
        "pairwise_auc",
        "reweighted_auc",
    }
    for method in label_methods():
        SEVERAL_LABELS.check(SEVERAL_LABELS.settled(compose("x", "digits-multi", method)))
    for method in ("baseline", "csba", "mixup", "sam", "crt", "soft_f1", "asymmetric"):
        with pytest.raises(InputError, match="choose from binary_cross_entropy"):
            SEVERAL_LABELS.check(compose("x", "digits-multi", method))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("left", "a positive training image, got none for 'right'.*--drop-labels right"),
        ("right", "a negative training image, got none for 'both'.*--drop-labels both"),
    ],
)
def test_a_label_that_cannot_be_learnt_is_refused_with_the_remedy(
    photos: Path, tmp_path: Path, values: str, words: str
) -> None:
    rows = list(csv.DictReader(photos.read_text().splitlines()))
    for i, row in enumerate(rows):
        part = ("train", "train", "val", "test")[i % 4]
        known = "left" if part == "train" else "left|right"
        row["labels"] = known if values == "left" else f"both|{('left', 'right')[i // 4 % 2]}"
        row["split"] = part
    rows[0]["labels"] = "left" if values == "left" else "both|left"
    if values == "left":
        rows[1]["labels"] = ""
    with (photos.parent / "other.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    keys = {**BARE, "data": {"labels_column": "labels", "label_separator": "|", "group_duplicates": False}}
    with pytest.raises(InputError, match=words):
        train(
            photos.parent / "other.csv",
            regime="digits-multi",
            overrides=keys,
            out=tmp_path / "run",
            console=None,
        )


@pytest.mark.parametrize(("part", "words"), [("val", "validation"), ("test", "test")])
def test_a_part_without_any_label_is_refused_before_training(
    photos: Path, tmp_path: Path, part: str, words: str
) -> None:
    rows = list(csv.DictReader(photos.read_text().splitlines()))
    for i, row in enumerate(rows):
        row["split"] = ("train", "train", "val", "test")[i // 4 % 4]
        row["labels"] = "" if row["split"] == part else row["labels"]
    with (photos.parent / "bare.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    keys = {**BARE, "data": {"labels_column": "labels", "label_separator": "|", "group_duplicates": False}}
    where = photos.parent / "bare.csv"
    with pytest.raises(InputError, match=f"{words} images must have a label, got none in [0-9]+; give"):
        train(where, regime="digits-multi", overrides=keys, out=tmp_path / "run", console=None)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_methods_are_compared_by_figures_of_the_task(tmp_path: Path) -> None:
    study = compare(
        "patterns-multi-lt",
        ["bce", "pairwise_auc"],
        seeds=2,
        overrides=BARE,
        out=tmp_path / "study",
        console=None,
    )
    metrics = {row["metric"] for row in study.comparison["rows"]}
    assert study.comparison["metric"] == "mean_average_precision"
    assert {"macro_auc", "macro_f1", "tail_average_precision"} <= metrics
    assert "mean-average-precision" in study.conclusion
    assert "Average precision of every label" in study.report.read_text()
    with pytest.raises(InputError, match="loss.name must take several labels an image, got 'cross_entropy'"):
        compare("patterns-multi-lt", ["ce"], seeds=1, overrides=BARE, out=tmp_path / "other", console=None)
