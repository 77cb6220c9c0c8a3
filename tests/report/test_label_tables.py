"""Tables of several labels against the figures that they are made from."""

from dataclasses import replace

import numpy as np
import pytest

from tailgrad.evaluate.label_thresholds import LabelThresholds
from tailgrad.evaluate.several_labels import LabelEvaluation, evaluate_labels
from tailgrad.interference.label_conflict import LabelConflict
from tailgrad.report.label_tables import (
    label_group_table,
    label_table,
    methods_table,
    opposed_table,
    side_table,
)
from tailgrad.types import ClassInfo

NOTHING = "\u2013"
INFO = ClassInfo(("cat", "dog", "owl"), (30, 200, 5))


def evaluated(seed: int = 0, bare: bool = False) -> LabelEvaluation:
    rng = np.random.default_rng(seed)
    y = (rng.random((60, 3)) < np.array([0.4, 0.5, 0.2])).astype(int)
    if bare:
        y[:, 2] = 0
    fitted = LabelThresholds(np.array([0.25, 0.5, 0.5]), (True, True, False))
    return evaluate_labels(y + rng.normal(size=y.shape), y, INFO, fitted, resamples=20)


def conflict() -> LabelConflict:
    """Of three labels: the second pair is opposed beyond chance, the last label is noise."""
    nan = float("nan")
    excess = np.array([[0.0, -0.5, 0.1], [-0.5, 0.0, -0.2], [0.1, -0.2, 0.0]])
    return LabelConflict(
        label_names=INFO.names,
        images=40,
        positives=np.array([9.0, 20.0, 1.0]),
        parameters="backbone",
        conflict=excess,
        disattenuated=excess + 0.25,
        null=np.full((3, 3), 0.25),
        excess=excess,
        low=excess - 0.3,
        high=excess + np.array([[0.3, 0.1, 0.3], [0.1, 0.3, 0.3], [0.3, 0.3, 0.3]]),
        norms=np.ones(3),
        positive_share=np.array([0.25, 0.75, nan]),
        share_low=np.array([0.2, nan, nan]),
        share_high=np.array([0.3, nan, nan]),
        opposition=np.array([-0.9, -1.1, nan]),
        logit_positive=np.array([1.0, 3.0, 0.0]),
        logit_negative=np.array([3.0, 1.0, 0.0]),
    )


def test_labels_stand_by_training_images_with_their_figures() -> None:
    found = evaluated()
    table = label_table(found)
    assert [row[:2] for row in table.rows] == [("dog", "200"), ("cat", "30"), ("owl", "5")]
    for row in table.rows:
        own = found.row(row[0])
        told = dict(zip(table.header, row, strict=True))
        for name in ("F1", "recall", "precision"):
            figure = getattr(own, name.lower())
            assert told[name] == f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
        assert told["average precision"].startswith(f"{own.average_precision.value:.3f} (")  # type: ignore[union-attr]
        assert told["test"] == str(own.support)
    assert [row[-1] for row in table.rows] == ["0.500", "0.250", "0.5 (not fitted)"]


def test_a_label_without_test_images_has_dashes_and_no_group_of_its_own() -> None:
    found = evaluated(bare=True)
    row = dict(zip(label_table(found).header, label_table(found).rows[-1], strict=True))
    assert (row["label"], row["average precision"], row["AUC"]) == ("owl", NOTHING, NOTHING)
    names = [row[0] for row in label_group_table(found).rows]
    assert names == ["many", "medium", "head", "middle"]
    assert all("classes" not in row[1] for row in label_group_table(found).rows)


def test_a_group_without_an_auc_has_a_dash_for_it() -> None:
    found = evaluated()
    unknown = replace(found.groups[0].auc, value=float("nan"), low=None, high=None)
    shown = label_group_table(replace(found, groups=(replace(found.groups[0], auc=unknown),)))
    assert dict(zip(shown.header, shown.rows[0], strict=True))["AUC"] == NOTHING


def test_only_pairs_opposed_with_their_whole_interval_are_named() -> None:
    assert opposed_table(conflict()).rows == (("cat and dog", "-0.500", "-0.800 to -0.400", "0.250"),)
    assert not opposed_table(replace(conflict(), high=np.full((3, 3), 0.1))).rows


def test_sides_are_told_with_what_is_known_of_them() -> None:
    cat, dog, owl = side_table(conflict()).rows
    assert cat == ("cat", "9", "0.25 (0.20 to 0.30)", "-0.900", "0.250")
    assert dog == ("dog", "20", "0.75", "-1.100", "0.750")
    assert owl == ("owl", "1", NOTHING, NOTHING, NOTHING)


def test_methods_stand_side_by_side_with_the_mean_over_their_runs() -> None:
    runs = {"bce": [evaluated(0), evaluated(1)], "asl": [evaluated(2, bare=True)]}
    table = methods_table(runs)
    assert table.header == ("label", "train", "bce", "asl")
    values = [run.row("dog").average_precision.value for run in runs["bce"]]  # type: ignore[union-attr]
    assert table.rows[0][:2] == ("dog", "200")
    assert float(table.rows[0][2]) == pytest.approx(np.mean(values), abs=5e-4)
    assert table.rows[-1][3] == NOTHING
