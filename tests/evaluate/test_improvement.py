import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tailgrad.checks import InputError
from tailgrad.evaluate import probability_of_improvement

VALUES = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=8)


@given(VALUES, VALUES)
def test_crossed_share_is_the_mann_whitney_statistic(a: list[float], b: list[float]) -> None:
    wanted = stats.mannwhitneyu(a, b, method="asymptotic").statistic / (len(a) * len(b))
    found = probability_of_improvement(a, b, paired=False)
    assert found.value == pytest.approx(wanted)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_paired_share_counts_ties_as_half(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    wins = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x, y in pairs)
    low, high = proportion_confint(wins, len(pairs), method="wilson")
    found = probability_of_improvement(a, b)
    assert found.value == pytest.approx(wins / len(pairs))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


@given(VALUES, VALUES, st.booleans())
def test_the_other_way_round_is_the_rest(a: list[float], b: list[float], paired: bool) -> None:
    if paired:
        a, b = a[: len(b)], b[: len(a)]
    ours, theirs = (probability_of_improvement(*both, paired=paired) for both in ((a, b), (b, a)))
    assert ours.value == pytest.approx(1 - theirs.value)
    assert (ours.low, ours.high) == pytest.approx((1 - theirs.high, 1 - theirs.low), abs=1e-6)


def test_overlapping_splits_are_worth_fewer_pairs() -> None:
    a, b = np.arange(10.0), np.array([-1.0] * 8 + [20.0] * 2)
    plain, widened = (probability_of_improvement(a, b, test_train_ratio=rho) for rho in (None, 0.25))
    low, high = proportion_confint(0.8 / (1 / 10 + 0.25), 1 / (1 / 10 + 0.25), method="wilson")
    assert (widened.low, widened.high) == pytest.approx((low, high))
    assert widened.low < plain.low
    assert "worth 2.9" in widened.how


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_crossed_interval_covers_at_three_runs_each(shift: float) -> None:
    random, truth = np.random.default_rng(1), stats.norm.cdf(shift / 2**0.5)
    held = 0
    for _ in range(500):
        found = probability_of_improvement(random.normal(shift, size=3), random.normal(size=3), paired=False)
        held += found.low <= truth <= found.high
    # nominal 0.95; a share of 500 trials below 0.92 would be three standard errors off
    assert held / 500 > 0.92


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: probability_of_improvement([1.0], [1.0, 2.0]), "got 1 and 2 values"),
        (lambda: probability_of_improvement([], [1.0], paired=False), "a must be finite"),
        (lambda: probability_of_improvement([1.0], [float("nan")]), "b must be finite"),
        (lambda: probability_of_improvement([1.0], [1.0], level=1.0), "level"),
        (lambda: probability_of_improvement([1.0], [1.0], test_train_ratio=-1.0), "test_train_ratio"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("paired", [True, False])
def test_means_that_differ_in_their_last_bit_are_a_tie(paired: bool) -> None:
    of_seeds = (0.9 + 0.8) / 2
    assert of_seeds != 0.85, "else this tests nothing"
    assert probability_of_improvement([of_seeds] * 3, [0.85] * 3, paired=paired).value == 0.5
    assert probability_of_improvement([1e-9] * 3, [0.0] * 3, paired=paired).value == 1.0
    assert probability_of_improvement([0.0] * 3, [0.0] * 3, paired=paired).value == 0.5
