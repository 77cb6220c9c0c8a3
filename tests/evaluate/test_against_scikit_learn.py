"""Figures of whole evaluations against scikit-learn, and what intervals and groups must obey."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn import metrics

from tailgrad.evaluate import Evaluation, apply_threshold, evaluate, evaluate_predictions, tune_threshold
from tailgrad.evaluate.groups import shots, thirds
from tailgrad.evaluate.intervals import combined, wilson, wilson_f1
from tailgrad.types import ClassInfo

SEEDS = st.integers(0, 100_000)


def classes(size: int) -> ClassInfo:
    return ClassInfo(tuple(f"c{k}" for k in range(size)), tuple(300 // (k + 1) for k in range(size)))


def predictions(seed: int, size: int, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.integers(0, size, images)
    logits = random.normal(size=(images, size)) + 1.5 * np.eye(size)[target]
    return logits, logits.argmax(1), target


@settings(max_examples=40)
@given(SEEDS, st.integers(2, 8), st.integers(1, 80))
def test_class_figures(seed: int, size: int, images: int) -> None:
    _, guess, target = predictions(seed, size, images)
    found = evaluate_predictions(guess, target, classes(size), resamples=0)
    known = metrics.precision_recall_fscore_support(target, guess, labels=range(size), zero_division=0)
    for k, row in enumerate(found.classes):
        ours = (row.precision.value, row.recall.value, row.f1.value, row.support)
        assert ours == pytest.approx(tuple(part[k] for part in known))
    np.testing.assert_array_equal(
        found.confusion, metrics.confusion_matrix(target, guess, labels=range(size))
    )
    assert found.macro_f1.value == pytest.approx(known[2].mean())
    assert found.balanced_accuracy.value == pytest.approx(known[1].mean())


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 8))
def test_likelihood_and_order_of_images(seed: int, size: int) -> None:
    logits, _, target = predictions(seed, size, 50)
    found = evaluate(logits, target, classes(size), resamples=0)
    shares = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    assert found.nll.value == pytest.approx(metrics.log_loss(target, shares, labels=range(size)))
    order = np.random.default_rng(seed).permutation(50)
    moved = evaluate(logits[order], target[order], classes(size), resamples=0)
    assert moved.macro_f1 == found.macro_f1
    assert moved.classes[0].f1 == found.classes[0].f1
    assert moved.ece == pytest.approx(found.ece)


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 6), st.integers(2, 5))
def test_copies_of_all_images_narrow_and_never_move(seed: int, size: int, copies: int) -> None:
    _, guess, target = predictions(seed, size, 30)
    one, many = (
        evaluate_predictions(np.tile(guess, n), np.tile(target, n), classes(size), resamples=0)
        for n in (1, copies)
    )
    assert many.macro_f1.value == pytest.approx(one.macro_f1.value)
    for a, b in zip(one.classes, many.classes, strict=True):
        assert b.f1.value == pytest.approx(a.f1.value)
        assert b.f1.high - b.f1.low <= a.f1.high - a.f1.low + 1e-12


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 6))
def test_every_interval_holds_its_figure_and_stays_a_share(seed: int, size: int) -> None:
    logits, _, target = predictions(seed, size, 40)
    found = evaluate(logits, target, classes(size), resamples=50)
    figures = [part for row in found.classes for part in (row.precision, row.recall, row.f1)]
    figures += [found.accuracy, *(group.recall for group in found.groups)]
    for figure in figures:
        assert -1e-9 <= figure.low <= figure.value + 1e-12
        assert figure.value - 1e-12 <= figure.high <= 1 + 1e-9


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 6), st.sampled_from([0.5, 0.8, 0.99]))
def test_a_higher_level_gives_a_wider_interval(seed: int, size: int, level: float) -> None:
    _, guess, target = predictions(seed, size, 40)
    inner, outer = (
        evaluate_predictions(guess, target, classes(size), resamples=0, level=x).accuracy
        for x in (level, (1 + level) / 2)
    )
    assert outer.low <= inner.low + 1e-12
    assert inner.high <= outer.high + 1e-12


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("hits", "n"), [(0, 7), (1, 7), (5, 9), (40, 40), (130, 200)])
def test_wilson_ends_solve_the_score_equation(hits: int, n: int, level: float) -> None:
    z, found = stats.norm.ppf((1 + level) / 2), wilson(hits, n, level)

    def gap(p: float) -> float:
        return (hits / n - p) ** 2 - z * z * p * (1 - p) / n

    for end in (found.low, found.high):
        assert gap(end) == pytest.approx(0, abs=1e-9)
    if 0 < hits < n:
        assert found.low == pytest.approx(optimize.brentq(gap, 1e-12, hits / n))
        assert found.high == pytest.approx(optimize.brentq(gap, hits / n, 1 - 1e-12))
    known = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-9)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_f1_is_a_function_of_the_jaccard_index(hits: int, missed: int, wrong: int) -> None:
    assume(hits + missed + wrong > 0)
    found = wilson_f1(hits, hits + missed, hits + wrong)
    jaccard = wilson(hits, hits + missed + wrong)
    assert found.value == pytest.approx(2 * hits / (2 * hits + missed + wrong))
    for ours, share in ((found.low, jaccard.low), (found.high, jaccard.high)):
        assert ours / (2 - ours) == pytest.approx(share)
    turned = wilson_f1(hits, hits + wrong, hits + missed)
    assert turned == found


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=6))
def test_combined_intervals_add_squares(parts: list[tuple[int, int]]) -> None:
    figures = [wilson(min(hits, n), n) for hits, n in parts]
    found, size = combined(figures), len(figures)
    down = math.sqrt(sum((f.value - f.low) ** 2 for f in figures)) / size
    up = math.sqrt(sum((f.high - f.value) ** 2 for f in figures)) / size
    assert found.value == pytest.approx(sum(f.value for f in figures) / size)
    assert (found.value - found.low, found.high - found.value) == pytest.approx((down, up))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40))
def test_groups_are_partitions_in_order(counts: list[int]) -> None:
    for found in (shots(counts), thirds(counts)):
        assert sorted(k for members in found.values() for k in members) == list(range(len(counts)))
    ordered = [members for name, members in thirds(counts).items() if name in {"head", "middle", "tail"}]
    for before, after in pairwise(ordered):
        assert min(counts[k] for k in before) >= max(counts[k] for k in after)
    found = thirds(counts)
    assert len(found.get("head", ())) == len(found.get("tail", ())) == (len(counts) + 1) // 3


@settings(max_examples=30)
@given(SEEDS, st.integers(3, 40))
def test_thresholds_beat_every_other_cut(seed: int, images: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.round(random.random(images), 1)
    belongs = random.random(images) < 0.4
    belongs[0] = True
    found = tune_threshold(scores, belongs)
    cuts = [*np.unique(scores), 2.0]
    best = max(metrics.f1_score(belongs, scores >= cut, zero_division=0) for cut in cuts)
    assert found.f1.value == pytest.approx(best)
    assert metrics.f1_score(belongs, scores >= found.value, zero_division=0) == pytest.approx(best)


@settings(max_examples=30)
@given(SEEDS, st.integers(2, 6), st.floats(0, 1))
def test_thresholds_move_one_class_only(seed: int, size: int, threshold: float) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.ones(size), 20)
    focus = seed % size
    found = apply_threshold(shares, focus, threshold)
    for row, k in zip(shares, found, strict=True):
        if row[focus] >= threshold:
            assert k == focus
        else:
            assert k != focus
            assert row[k] == max(p for j, p in enumerate(row) if j != focus)


@pytest.mark.parametrize("focus", range(4))
def test_a_low_threshold_never_finds_less(focus: int) -> None:
    shares = np.random.default_rng(1).dirichlet(np.ones(4), 200)
    found = [int((apply_threshold(shares, focus, t) == focus).sum()) for t in np.linspace(0, 1, 11)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 200


@pytest.mark.parametrize("never", ["predicted", "present", "both"])
def test_undefined_figures_are_counted(never: str) -> None:
    target, guess = np.array([0, 1, 2, 2, 1]), np.array([0, 1, 2, 1, 1])
    if never != "present":
        guess[guess == 2] = 1
    if never != "predicted":
        target[target == 2] = 1
    found: Evaluation = evaluate_predictions(guess, target, classes(3), resamples=0)
    assert found.undefined == {
        "precision": int(never != "present"),
        "recall": int(never != "predicted"),
        "f1": int(never == "both"),
    }
    assert found.row("c2").f1.value == 0
