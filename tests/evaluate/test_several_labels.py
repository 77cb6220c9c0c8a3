"""Figures of several labels against scikit-learn, pairs counted one by one, and their intervals."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from tailgrad.checks import InputError
from tailgrad.evaluate.bootstrap import debiased_percentile
from tailgrad.evaluate.intervals import wilson
from tailgrad.evaluate.label_thresholds import LabelThresholds, fit_label_thresholds, probabilities
from tailgrad.evaluate.ranking import auc, auc_interval, average_precision, ranked
from tailgrad.evaluate.several_labels import LabelEvaluation, evaluate_labels
from tailgrad.files import write_json
from tailgrad.types import ClassInfo

INFO = ClassInfo(("a", "b", "c"), (200, 50, 5))
SCORES = st.lists(
    st.tuples(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]), st.booleans()), min_size=2, max_size=25
).filter(lambda rows: len({has for _, has in rows}) == 2)


def drawn(n: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 3)) < np.array([0.5, 0.3, 0.1])).astype(int)
    return y + rng.normal(size=y.shape), y


@settings(max_examples=60, deadline=None)
@given(SCORES)
def test_ties_count_as_scikit_learn_counts_them(rows: list[tuple[float, bool]]) -> None:
    scores, has = (np.array(column) for column in zip(*rows, strict=True))
    assert average_precision(scores, has) == pytest.approx(average_precision_score(has, scores))
    assert auc(scores, has) == pytest.approx(roc_auc_score(has, scores))
    pairs = [(p > q) + (p == q) / 2 for p in scores[has] for q in scores[~has]]
    assert auc(scores, has) == pytest.approx(np.mean(pairs))


def test_weights_stand_for_images_that_occur_so_often() -> None:
    z, y = drawn(30)
    weights = np.random.default_rng(1).integers(0, 4, 30)
    found = ranked(z[:, 0], y[:, 0].astype(float), weights[None].astype(float))
    again = np.repeat(np.arange(30), weights)
    assert found.average_precision[0] == pytest.approx(average_precision_score(y[again, 0], z[again, 0]))
    assert found.auc[0] == pytest.approx(roc_auc_score(y[again, 0], z[again, 0]))


def test_all_figures_are_those_of_scikit_learn() -> None:
    z, y = drawn()
    thresholds = fit_label_thresholds(z, y)
    said = (1 / (1 + np.exp(-z)) >= thresholds.values).astype(int)
    found = evaluate_labels(z, y, INFO, thresholds, resamples=50)
    assert found.mean_average_precision.value == pytest.approx(average_precision_score(y, z, average="macro"))
    assert found.macro_auc.value == pytest.approx(roc_auc_score(y, z, average="macro"))
    assert found.macro_f1.value == pytest.approx(f1_score(y, said, average="macro"))
    assert found.micro_f1.value == pytest.approx(f1_score(y, said, average="micro"))
    assert found.macro_f1_at_half.value == pytest.approx(f1_score(y, (z >= 0).astype(int), average="macro"))
    for k, row in enumerate(found.classes):
        assert row.recall.value == pytest.approx(said[y[:, k] == 1, k].mean())
        assert row.f1.value == pytest.approx(f1_score(y[:, k], said[:, k]))
    few = next(group for group in found.groups if group.name == "few")
    assert few.auc.value == pytest.approx(roc_auc_score(y[:, 2], z[:, 2]))
    assert LabelEvaluation.from_dict(found.to_dict()) == found


def test_intervals_hold_their_figures_and_never_collapse() -> None:
    z, y = drawn(40)
    perfect = evaluate_labels(20.0 * y - 10, y, INFO)
    for row in perfect.classes:
        assert row.average_precision is not None
        assert row.auc is not None
        for figure in (row.average_precision, row.auc, row.f1, row.recall):
            assert figure.value == 1
            assert figure.low is not None
            assert figure.low < 0.97
    for row in evaluate_labels(z, y, INFO).classes:
        for figure in (row.average_precision, row.auc):
            assert figure is not None
            assert figure.low < figure.value < figure.high  # type: ignore[operator]


def test_means_do_not_collapse_where_no_resample_differs() -> None:
    info = ClassInfo(("a", "b"), (200, 5))
    y = np.eye(2, dtype=np.uint8)[[0, 0, 0, 1, 1, 1]]
    right, wrong = (evaluate_labels(sign * (8.0 * y - 4), y, info) for sign in (1, -1))
    for name in ("macro_auc", "macro_f1", "micro_f1", "macro_f1_at_half"):
        best, worst = getattr(right, name), getattr(wrong, name)
        assert (best.value, worst.value) == (1, 0)
        assert best.low < 0.8, name
        assert worst.high > 0.2, name
    assert right.mean_average_precision.low is not None
    assert right.mean_average_precision.low < 0.8
    for group in right.groups:
        for figure in (group.recall, group.macro_f1, group.average_precision, group.auc):
            assert figure.low is not None
            assert figure.low < 0.8, group.name


def test_delong_is_the_variance_of_placements() -> None:
    z, y = drawn(60, seed=4)
    above, below = z[y[:, 0] == 1, 0], z[y[:, 0] == 0, 0]
    wins = (above[:, None] > below[None]) + 0.5 * (above[:, None] == below[None])
    value = wins.mean()
    error = math.sqrt(wins.mean(1).var(ddof=1) / len(above) + wins.mean(0).var(ddof=1) / len(below))
    half = 1.959964 * error / (value * (1 - value))
    found = auc_interval(z[:, 0], y[:, 0])
    assert found is not None
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(1 / (1 + math.exp(-(math.log(value / (1 - value)) - half))), rel=1e-5)


@pytest.mark.slow
def test_delong_covers_the_true_auc() -> None:
    rng, truth, hits = np.random.default_rng(0), 0.7602, 0
    for _ in range(400):  # unit normals one apart: AUC is Phi(1 / sqrt 2)
        scores = np.concatenate([rng.normal(1, 1, 15), rng.normal(0, 1, 60)])
        found = auc_interval(scores, np.repeat([1, 0], [15, 60]))
        hits += found.low <= truth <= found.high  # type: ignore[union-attr,operator]
    assert 0.92 <= hits / 400 <= 0.98


def test_labels_without_positives_are_left_out_and_counted() -> None:
    z, y = drawn()
    y[:, 2] = 0
    found = evaluate_labels(z, y, INFO, resamples=20)
    assert found.classes[2].average_precision is None
    assert found.classes[2].auc is None
    assert found.undefined == {"average_precision": 1, "auc": 1}
    assert found.mean_average_precision.value == pytest.approx(average_precision_score(y[:, :2], z[:, :2]))
    assert found.without_labels == int((y.sum(1) == 0).sum())
    with pytest.raises(InputError, match="a positive image of a label, got none in 120"):
        evaluate_labels(z, 0 * y, INFO)


def test_thresholds_maximise_the_f1_of_each_label() -> None:
    z, y = drawn(50, seed=2)
    y[:, 2] = 0
    found = fit_label_thresholds(z, y)
    p = probabilities(z)
    for k in (0, 1):
        best = max(f1_score(y[:, k], p[:, k] >= cut) for cut in p[:, k])
        assert f1_score(y[:, k], found.apply(z)[:, k]) == pytest.approx(best)
    assert found.fitted == (True, True, False)
    assert found.values[2] == 0.5


def test_probabilities_of_large_logits_do_not_overflow() -> None:
    assert probabilities([[-1e4, 1e4, 0.0]]).tolist() == [[0.0, 1.0, 0.5]]


@pytest.mark.parametrize(
    ("z", "y", "words"),
    [
        ([[0.0, 1.0]], [[1, 0]], r"\[N, 3\].*got \[1, 2\]"),
        ([[0.0, 1.0, 2.0]], [[1, 0]], r"got \[1, 3\] and \[1, 2\]"),
        ([[0.0, math.nan, 2.0]], [[1, 0, 0]], r"finite numbers, got logits\[0, 1\]=nan"),
        ([[0.0, 1.0, 2.0]], [[1, 0, 2]], r"zeros and ones, got target\[0, 2\]=2"),
    ],
)
def test_what_does_not_fit_is_named(z: object, y: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        evaluate_labels(z, y, INFO)  # type: ignore[arg-type]


@pytest.mark.parametrize(("scores", "has"), [([], []), ([1.0], [1, 0]), ([math.inf, 0.0], [1, 0])])
def test_scores_that_do_not_fit_are_refused(scores: list[float], has: list[int]) -> None:
    for figure in (auc, average_precision, auc_interval):
        with pytest.raises(InputError, match=r"scores (and positive )?must be"):
            figure(scores, has)


def test_a_label_of_another_name_is_not_found() -> None:
    z, y = drawn()
    with pytest.raises(InputError, match="label must be one of 3, got 'd'"):
        evaluate_labels(z, y, INFO, resamples=0).row("d")
    assert LabelThresholds(np.array([0.5]), (False,)).apply([[0.0]]).tolist() == [[1]]


def noisy(rng: np.random.Generator, images: int, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = (rng.random((images, len(shares))) < shares).astype(int)
    return y + rng.normal(size=y.shape), y


def test_mean_average_precision_of_endless_images_is_inside() -> None:
    """Plain percentiles hold it in half of the draws: copies in a resample push average precision up."""
    rng, shares = np.random.default_rng(1), np.array([0.4, 0.3, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02])
    info = ClassInfo(tuple("abcdefgh"), (80, 60, 40, 20, 14, 10, 6, 4))
    z, y = noisy(rng, 100_000, shares)
    truth = np.mean([average_precision(z[:, k], y[:, k]) for k in range(8)])
    inside = 0
    for seed in range(25):
        z, y = noisy(rng, 200, shares)
        found = evaluate_labels(z, y, info, resamples=100, seed=seed).mean_average_precision
        inside += found.low <= truth <= found.high  # type: ignore[operator]
    assert inside >= 19  # 0.9 of 25 and more fall short of it in one of 100 cases


def test_ends_without_bias_are_those_of_the_draws_moved() -> None:
    draws = np.array([0.2, 0.4, 0.6, 0.8])
    even = debiased_percentile(0.5, draws, 0.5)  # the draws' mean: nothing to move
    assert (even.low, even.high) == pytest.approx(tuple(np.quantile(draws, [0.25, 0.75])))
    lifted = debiased_percentile(0.4, draws, 0.5)  # 0.1 above it: moved by 0.1 and 0.2
    assert (lifted.low, lifted.high) == pytest.approx((0.35 - 0.2, 0.65 - 0.1))
    sunk = debiased_percentile(0.6, draws, 0.5)
    assert (sunk.low, sunk.high) == pytest.approx((0.35 + 0.1, 0.65 + 0.2))
    ends = debiased_percentile(0.99, np.array([0.9, 0.95, 1.0]), 0.5)
    assert (ends.low, ends.high) == pytest.approx((0.925 + 0.04, 1.0))
    point = debiased_percentile(0.7, np.full(9, 0.7))
    assert point.low == point.value == point.high


def test_a_label_that_every_test_image_has_counts_where_it_has_figures(tmp_path: Path) -> None:
    """Its average precision is 1 and its AUC unknown; groups and the whole take the same labels."""
    z, y = drawn(40)
    y[:, 0] = 1
    found = evaluate_labels(z, y, INFO, resamples=20)
    many = next(group for group in found.groups if group.name == "many")
    assert many.average_precision.value == 1
    assert math.isnan(many.auc.value)
    parts = [
        group.average_precision.value for group in found.groups if group.name in ("many", "medium", "few")
    ]
    assert np.mean(parts) == pytest.approx(found.mean_average_precision.value)
    assert found.macro_auc.value == pytest.approx(roc_auc_score(y[:, 1:], z[:, 1:], average="macro"))
    stored = json.loads(write_json(tmp_path / "test.json", found.to_dict()).read_text())
    again = LabelEvaluation.from_dict(stored)
    assert str(next(group for group in again.groups if group.name == "many").auc) == "nan"


def test_without_any_auc_the_rest_is_there(tmp_path: Path) -> None:
    z, _ = drawn(12)
    found = evaluate_labels(z, np.ones((12, 3)), INFO, resamples=20)
    assert found.undefined == {"average_precision": 0, "auc": 3}
    assert found.mean_average_precision.value == 1
    assert [group.name for group in found.groups][:3] == ["many", "medium", "few"]
    again = LabelEvaluation.from_dict(
        json.loads(write_json(tmp_path / "t.json", found.to_dict()).read_text())
    )
    assert str(again.macro_auc) == "nan"


@settings(max_examples=40, deadline=None)
@given(SCORES, st.sampled_from([math.exp, lambda s: s**3 + s, lambda s: 5 * s - 2]))
def test_only_the_order_of_scores_counts(rows: list[tuple[float, bool]], change: object) -> None:
    scores, has = (np.array(column) for column in zip(*rows, strict=True))
    moved = np.array([change(one) for one in scores])  # type: ignore[operator]
    assert average_precision(moved, has) == pytest.approx(average_precision(scores, has))
    assert auc(moved, has) == pytest.approx(auc(scores, has))
    assert auc(-scores, has) == pytest.approx(1 - auc(scores, has))
    assert average_precision(scores, has) >= has.mean() * 0.999 / len(has)
    assert average_precision(np.zeros(len(has)), has) == pytest.approx(has.mean())


def test_figures_of_a_label_without_one_of_the_sides_are_unknown() -> None:
    assert math.isnan(average_precision([1.0, 0.0], [0, 0]))
    assert math.isnan(auc([1.0, 0.0], [0, 0]))
    assert math.isnan(auc([1.0, 0.0], [1, 1]))
    assert auc_interval([1.0, 0.0], [1, 1]) is None
    assert auc_interval([1.0, 0.0], [0, 0]) is None


@pytest.mark.parametrize(
    ("scores", "has", "value"),
    [([1, 1, 1, 1], [1, 1, 0, 0], 0.5), ([3, 2, 1, 0], [1, 1, 0, 0], 1.0), ([0, 1, 2], [1, 0, 0], 0.0)],
)
def test_where_placements_do_not_vary_the_interval_is_wilson_of_the_smaller_side(
    scores: list[int], has: list[int], value: float
) -> None:
    found = auc_interval(scores, has)
    wide = wilson(value * min(sum(has), len(has) - sum(has)), min(sum(has), len(has) - sum(has)))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((value, wide.low, wide.high))
    assert found.how.endswith("of the smaller side")


def test_thresholds_of_saturated_probabilities_tell_the_images_apart_that_can_be() -> None:
    """Above a logit of 36 neighbouring probabilities are neighbouring numbers, with none between."""
    z, y = np.array([[37.5], [36.0]]), np.array([[1], [0]])
    assert fit_label_thresholds(z, y).apply(z).tolist() == [[1], [0]]
    z = np.array([[36.0], [35.9], [35.0]])
    assert fit_label_thresholds(z, np.array([[1], [1], [0]])).apply(z).tolist() == [[1], [1], [0]]
