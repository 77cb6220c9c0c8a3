"""The analysis of shipping: its figures on a run and on made-up ones, against direct computation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.evidence import study
from tailgrad.evidence.analyses.shipping import eight_bits, frequencies, weighted_accuracy
from tailgrad.ship.description import Description, Preprocessing

FORM = Preprocessing(size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))


def about(counts: tuple[int, ...], **facts: Any) -> Description:
    names = tuple(f"class {k}" for k in range(len(counts)))
    return Description(names=names, counts=counts, preprocessing=FORM, **facts)


@given(
    target=st.lists(st.integers(0, 2), min_size=1, max_size=30).map(lambda rest: [0, 1, 2, *rest]),
    seed=st.integers(0, 1000),
    shares=st.tuples(*[st.integers(0, 9)] * 3),
)
def test_weighted_accuracy_is_that_of_images_repeated(
    target: list[int], seed: int, shares: tuple[int, ...]
) -> None:
    truth = np.array(target)
    logits = np.random.default_rng(seed).normal(size=(len(truth), 3))
    counts = np.bincount(truth)
    # every image as often as its class asks for, so that classes come as often as the shares
    often = [shares[k] * int(np.prod(counts)) // int(counts[k]) for k in truth]
    right = sum(n * bool(z.argmax() == k) for n, z, k in zip(often, logits, truth, strict=True))
    total = sum(shares)
    expected = right / sum(often) if total else 0.0
    found = weighted_accuracy(logits, truth, [share / max(total, 1) for share in shares])
    assert found == pytest.approx(expected)


def test_thirds_are_those_of_the_training_counts() -> None:
    before, after = (0.5, 0.6, 0.7), (0.4, 0.6, 0.9)
    rows = [{"before": {"value": b}, "after": {"value": a}} for b, a in zip(before, after, strict=True)]
    found = eight_bits(about((1, 10, 100), int8={"classes": rows, "changed": 3, "images": 60}))
    assert found["changed"] == 0.05
    assert found["change_tail"] == pytest.approx(-0.1), "the first class is the rarest"
    assert found["change_head"] == pytest.approx(0.2)
    assert found["change_tail_minus_head"] == pytest.approx(-0.3)
    assert found["change"] == pytest.approx(0.1 / 3)


def test_retargeting_is_bayes_rule() -> None:
    """Two Gaussians one apart: the best cut moves by the log of the odds, and the gain is known."""
    random, counts = np.random.default_rng(0), (900, 100)
    target = np.repeat([0, 1], 20_000)
    x = random.normal(size=len(target)) + target
    logits = np.stack([-(x**2) / 2, -((x - 1) ** 2) / 2], 1)
    found = frequencies(logits, target, about(counts, prior=(0.5, 0.5)), 1.0)
    cut = 0.5 + np.log(9)
    best = 0.9 * (x[target == 0] < cut).mean() + 0.1 * (x[target == 1] > cut).mean()
    plain = 0.9 * (x[target == 0] < 0.5).mean() + 0.1 * (x[target == 1] > 0.5).mean()
    assert found["target_prior"] == pytest.approx(best)
    assert found["kept_prior"] == pytest.approx(plain)
    assert found["gain"] == pytest.approx(best - plain)
    assert found["gain"] > 0.1
    assert found["calibrated_gain"] == found["gain"], "the logits are those of Bayes' rule as they are"


def test_too_timid_logits_are_shifted_too_far_until_they_are_calibrated() -> None:
    random, counts = np.random.default_rng(0), (900, 100)
    target = np.repeat([0, 1], 20_000)
    x = random.normal(size=len(target)) + 4 * target
    logits = np.stack([-(x**2) / 2, -((x - 4) ** 2) / 2], 1)
    best = frequencies(logits, target, about(counts, prior=(0.5, 0.5)), 1.0)
    timid = frequencies(logits / 10, target, about(counts, prior=(0.5, 0.5)), 0.1)
    assert timid["gain"] < 0 < best["gain"]
    assert timid["calibrated_prior"] == pytest.approx(best["target_prior"])


def test_nothing_is_gained_where_the_prior_is_that_of_training_or_unknown() -> None:
    logits, target = np.random.default_rng(1).normal(size=(20, 2)), np.arange(20) % 2
    assert frequencies(logits, target, about((9, 3), prior=(0.75, 0.25)), 1.0)["gain"] == 0
    assert frequencies(logits, target, about((9, 3)), 1.0) == {}


@pytest.mark.long
def test_the_study_runs_at_its_smallest(tmp_path: Path) -> None:
    content = study("shipping", size="smoke", out=tmp_path / "study").content
    assert content["missing"] == []
    figures = content["figures"]
    assert 0 <= figures["ce.difference"]["value"] < 1e-4
    assert abs(figures["ce.gain"]["value"]) < 1e-6, "cross-entropy stands for the training prior"
    assert {"ce.change_tail", "balanced_softmax.gain", "balanced_softmax.target_prior.change"} <= set(figures)
