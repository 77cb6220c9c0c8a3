"""Calibration by class against brute force, closed forms and torchmetrics."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.functional.classification import binary_calibration_error

from tailgrad.evaluate import class_calibration, debiased_calibration_error, evaluate, wilson
from tailgrad.evaluate.class_calibration import confidence_gap
from tailgrad.evaluate.softmax import softmax
from tailgrad.types import ClassInfo


def brute_force(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    """Bin by bin, each bin the values up to the next order statistic of the quantile grid.

    What fills a bin by itself begins one and ends it.
    """
    ranked = np.sort(confidence)
    bins = max(1, min(bins, len(ranked) // 2))
    last = len(ranked) - 1
    ends = {ranked[math.ceil(Fraction(last * b, bins))] for b in range(1, bins)}
    for value in set(ranked):
        if Fraction(int((ranked == value).sum()), len(ranked)) >= Fraction(1, bins):
            ends |= {value, *ranked[ranked < value][-1:]}
    edges = sorted(ends)
    total = 0.0
    for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.sum() > 1:
            share = right[inside].mean()
            noise = share * (1 - share) / (inside.sum() - 1)
            total += inside.sum() * ((confidence[inside].mean() - share) ** 2 - noise)
    return float(np.sqrt(max(0.0, total / len(confidence))))


@given(
    confidence=arrays(float, st.integers(2, 30), elements=st.sampled_from(np.linspace(0, 1, 9).tolist())),
    bins=st.integers(1, 6),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_debiased_error_is_its_formula_and_knows_no_order(
    confidence: np.ndarray, bins: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    right = random.random(len(confidence)) < 0.5
    found = debiased_calibration_error(confidence, right, bins)
    assert found == pytest.approx(brute_force(confidence, right, bins), abs=1e-12)
    order = random.permutation(len(confidence))
    assert debiased_calibration_error(confidence[order], right[order], bins) == pytest.approx(
        found, abs=1e-12
    )


def test_squared_bias_is_gone_where_the_plain_error_keeps_it() -> None:
    random = np.random.default_rng(0)
    plain, debiased = [], []
    for _ in range(300):
        p = np.full(60, 0.3)
        right = random.random(60) < 0.3
        share = right.mean()
        plain.append((0.3 - share) ** 2)
        debiased.append((0.3 - share) ** 2 - share * (1 - share) / 59)
        assert debiased_calibration_error(p, right) == pytest.approx(
            np.sqrt(max(0.0, debiased[-1])), abs=1e-9
        )
    noise = 0.3 * 0.7 / 60
    assert np.mean(plain) == pytest.approx(noise, rel=0.2)
    assert abs(np.mean(debiased)) < 0.2 * noise


def test_one_bin_of_wrong_certainty_is_the_gap() -> None:
    found = debiased_calibration_error(np.full(9, 0.8), np.zeros(9), bins=15)
    assert found == pytest.approx(0.8)


def test_a_value_that_fills_bins_hides_no_rarer_one() -> None:
    """5 of 5 at 0.1 and 81 of 95 at 0.9 are right: over both together confidence and success agree."""
    confidence, right = np.repeat([0.1, 0.9], [5, 95]), np.r_[np.ones(86), np.zeros(14)]
    share = 81 / 95
    wanted = math.sqrt(0.05 * 0.9**2 + 0.95 * ((0.9 - share) ** 2 - share * (1 - share) / 94))
    assert debiased_calibration_error(confidence, right) == pytest.approx(wanted)
    assert debiased_calibration_error(1 - confidence, 1 - right) == pytest.approx(wanted)


@pytest.mark.parametrize("n", [2, 3, 10, 16, 20, 29])
def test_few_examples_that_are_all_wrong_leave_no_error_out(n: int) -> None:
    """Bins of two or more hold all of them but for one at most."""
    found = debiased_calibration_error(np.linspace(0.89, 0.91, n), np.zeros(n))
    assert 0.89 * math.sqrt((n - 1) / n) <= found <= 0.91


def made(n: int = 90, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    target = random.integers(0, classes, n)
    return softmax(random.normal(size=(n, classes)) + 1.2 * np.eye(classes)[target]), target


def test_errors_of_a_class_agree_with_torchmetrics_and_with_the_evaluation() -> None:
    p, target = made()
    found = class_calibration(p, target)
    whole = evaluate(np.log(p), target, ClassInfo(("a", "b", "c"), (9, 5, 1)), resamples=0)
    for k, own in enumerate(found):
        wanted = binary_calibration_error(
            torch.tensor(p[:, k]).float(), torch.tensor((target == k).astype(int)), n_bins=15, norm="l1"
        )
        assert own.ece == pytest.approx(float(wanted), abs=1e-5)
        assert own.ece == pytest.approx(whole.classes[k].ece, abs=1e-9)


def test_gaps_are_means_over_the_images_given_to_a_class_and_belonging_to_it() -> None:
    p, target = made()
    predicted, confidence = p.argmax(1), p.max(1)
    for k, own in enumerate(class_calibration(p, target)):
        for gap, inside in ((own.gap_predicted, predicted == k), (own.gap_true, target == k)):
            right = (predicted == target)[inside]
            share = wilson(int(right.sum()), int(inside.sum()))
            mean = confidence[inside].mean()
            assert gap is not None
            assert gap.value == pytest.approx(mean - right.mean())
            assert (gap.low, gap.high) == pytest.approx((mean - share.high, mean - share.low))
        assert (own.predicted, own.images) == ((predicted == k).sum(), (target == k).sum())


def test_a_class_that_is_never_predicted_or_tested_has_no_gap() -> None:
    p = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    rare = class_calibration(p, np.array([0, 1]))[2]
    assert (rare.gap_predicted, rare.gap_true, rare.images, rare.ece) == (None, None, 0, 0.0)
    assert confidence_gap(np.array([]), np.array([], dtype=bool)) is None
    assert rare.to_dict()["debiased"] == 0.0
