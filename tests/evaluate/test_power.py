import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.stats.power import TTestPower

from tailgrad.checks import InputError
from tailgrad.evaluate import (
    minimum_detectable_difference,
    paired_difference,
    pairs_needed,
    power_of_paired_test,
)

REFERENCE = TTestPower()


def _missed(shift: float, degrees: int, level: float) -> float:
    """Chance of a noncentral t between the critical values, integrated over the variance that is drawn."""
    critical = stats.t.ppf((1 + level) / 2, degrees)

    def inside(drawn: float) -> float:
        ends = [sign * critical * math.sqrt(drawn / degrees) - shift for sign in (1, -1)]
        return float((stats.norm.cdf(ends[0]) - stats.norm.cdf(ends[1])) * stats.chi2.pdf(drawn, degrees))

    end = degrees + 40 * math.sqrt(2 * degrees)
    return float(integrate.quad(inside, 0, end, limit=400, points=[degrees])[0])


def test_where_scipy_has_no_noncentral_t() -> None:
    wanted = 1 - _missed(1.1875 * math.sqrt(33), 32, 0.990234375)
    found = power_of_paired_test(1.1875 * 0.02, 0.02, 33, level=0.990234375)
    assert found == pytest.approx(wanted, abs=1e-9)


@given(st.floats(0.0, 3.0), st.integers(2, 60), st.floats(0.8, 0.995))
def test_power_agrees_with_statsmodels(effect: float, pairs: int, level: float) -> None:
    wanted = REFERENCE.power(effect, pairs, 1 - level)
    if math.isnan(wanted):  # as SciPy's noncentral t is far out
        wanted = 1 - _missed(effect * math.sqrt(pairs), pairs - 1, level)
    assert power_of_paired_test(effect * 0.02, 0.02, pairs, level=level) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("pairs", [3, 5, 10, 30])
def test_detectable_difference_agrees_with_statsmodels(pairs: int) -> None:
    effect = REFERENCE.solve_power(nobs=pairs, alpha=0.05, power=0.8)
    assert minimum_detectable_difference(0.02, pairs) == pytest.approx(0.02 * effect, rel=1e-5)


@pytest.mark.parametrize("effect", [0.3, 0.5, 1.0, 2.0])
def test_pairs_needed_is_what_statsmodels_rounds_up_to(effect: float) -> None:
    wanted = REFERENCE.solve_power(effect_size=effect, alpha=0.05, power=0.8)
    assert pairs_needed(effect * 0.02, 0.02) == math.ceil(wanted)


@given(
    st.integers(2, 200),
    st.floats(1e-4, 1.0),
    st.one_of(st.none(), st.floats(0.05, 2)),
    st.floats(0.5, 0.9999),
)
def test_the_detectable_difference_has_the_power_asked_for(
    pairs: int, spread: float, ratio: float | None, level: float
) -> None:
    smallest = minimum_detectable_difference(spread, pairs, test_train_ratio=ratio, level=level)
    assert power_of_paired_test(
        smallest, spread, pairs, test_train_ratio=ratio, level=level
    ) == pytest.approx(0.8, abs=1e-6)


@given(st.floats(0.05, 3.0), st.one_of(st.none(), st.floats(0.01, 0.5)))
def test_one_pair_fewer_would_not_do(effect: float, ratio: float | None) -> None:
    needed = pairs_needed(effect, 1.0, test_train_ratio=ratio)
    if needed is None:
        assert power_of_paired_test(effect, 1.0, 1000, test_train_ratio=ratio) < 0.8
        return
    assert power_of_paired_test(effect, 1.0, needed, test_train_ratio=ratio) >= 0.8
    if needed > 2:
        assert power_of_paired_test(effect, 1.0, needed - 1, test_train_ratio=ratio) < 0.8


def test_power_is_the_share_of_studies_that_find_a_difference() -> None:
    # Overlapping splits: differences share what the common images do to them, correlation rho / (1 + rho).
    random, pairs, rho, spread, trials = np.random.default_rng(0), 5, 0.25, 0.02, 3000
    shared = (rho * spread**2) ** 0.5 * random.normal(size=(trials, 1))
    found = 0.05 + shared + spread * random.normal(size=(trials, pairs))
    seen = sum(
        paired_difference(row, np.zeros(pairs), test_train_ratio=rho).verdict == "better" for row in found
    )
    wanted = power_of_paired_test(0.05, spread, pairs, test_train_ratio=rho)
    # four standard errors of a share of 3000 trials
    assert seen / trials == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / trials) ** 0.5)


@pytest.mark.parametrize("tests", [1, 30, 1000, 100_000])
@pytest.mark.parametrize("pairs", [2, 3, 10])
def test_far_out_where_scipys_noncentral_t_gives_up(pairs: int, tests: int) -> None:
    level = 1 - 0.05 / tests
    critical = stats.t.isf((1 - level) / 2, pairs - 1)
    for shift in (0.5 * critical, critical, 3 * critical):
        v = stats.chi2.ppf((np.arange(200_000) + 0.5) / 200_000, pairs - 1)
        wanted = stats.norm.cdf(shift - critical * np.sqrt(v / (pairs - 1))).mean()
        found = power_of_paired_test(shift, pairs**0.5, pairs, level=level)
        assert found == pytest.approx(wanted, abs=2e-3)


def test_no_number_of_overlapping_splits_shows_a_small_difference() -> None:
    assert pairs_needed(0.01, 0.02) == 34
    assert pairs_needed(0.01, 0.02, test_train_ratio=0.25) is None
    assert pairs_needed(0.0, 0.02) is None
    assert pairs_needed(-0.01, 0.02) == 34
    assert pairs_needed(0.01, 0.02, most=33) is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: minimum_detectable_difference(0.0, 3), "spread"),
        (lambda: minimum_detectable_difference(0.1, 1), "pairs"),
        (lambda: minimum_detectable_difference(0.1, 3, level=1.0), "level"),
        (lambda: minimum_detectable_difference(0.1, 3, power=0.04), "power"),
        (lambda: power_of_paired_test(float("nan"), 0.1, 3), "difference"),
        (lambda: power_of_paired_test(0.1, 0.1, 3, test_train_ratio=0.0), "test_train_ratio"),
        (lambda: pairs_needed(0.1, 0.1, most=1), "most"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
