"""Rank correlations of runs against SciPy, and how often their tests find what is not there."""

from math import factorial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tailgrad.checks import InputError
from tailgrad.evidence.analyses.rank_association import (
    Panel,
    by_seed,
    correlation,
    mean_kendall,
    permutation_p,
    seed_interval,
)

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(2, 6, 5, 3))


def rho(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(stats.spearmanr(a, b).statistic)


def test_within_a_seed_it_is_the_mean_of_spearman_s_correlations() -> None:
    one_by_one = [[rho(X[s, :, c], Y[s, :, c]) for c in range(3)] for s in range(6)]
    panel = Panel(X, Y)
    assert correlation(panel, "seed") == pytest.approx(np.mean(one_by_one))
    assert by_seed(panel) == pytest.approx(np.mean(one_by_one, axis=1).tolist())


def test_within_a_method_it_is_the_mean_of_spearman_s_correlations() -> None:
    one_by_one = [rho(X[:, m, c], Y[:, m, c]) for m in range(5) for c in range(3)]
    assert correlation(Panel(X, Y), "method") == pytest.approx(np.mean(one_by_one))


def test_over_all_runs_it_is_spearman_s_correlation() -> None:
    one_by_one = [rho(X[:, :, c].ravel(), Y[:, :, c].ravel()) for c in range(3)]
    assert correlation(Panel(X, Y), "nothing") == pytest.approx(np.mean(one_by_one))


def test_ties_share_their_rank() -> None:
    x = np.array([0.0, 0.0, 1.0, 2.0])[None, :, None]
    y = np.array([1.0, 3.0, 3.0, 4.0])[None, :, None]
    assert correlation(Panel(x, y), "seed") == pytest.approx(rho(x.ravel(), y.ravel()))


def test_kendall_is_scipy_s() -> None:
    taus = [stats.kendalltau(X[s, :, c], Y[s, :, c]).statistic for s in range(6) for c in range(3)]
    assert mean_kendall(Panel(X, Y)) == pytest.approx(np.mean(taus))


def test_where_nothing_varies_nothing_is_known() -> None:
    flat = Panel(np.zeros((4, 3, 2)), Y[:4, :3, :2])
    assert np.isnan(correlation(flat, "seed"))
    assert np.isnan(mean_kendall(flat))
    assert permutation_p(flat, "seed") == 1.0
    assert seed_interval(flat, "method").low is None


def test_methods_that_differ_make_a_pooled_correlation_that_no_run_follows() -> None:
    """Simpson's paradox: two clouds, upwards together, nothing or the reverse inside."""
    random = np.random.default_rng(1)
    means = np.array([0.0, 10.0])[None, :, None]
    x, noise = random.normal(size=(2, 12, 2, 1))
    panel = Panel(x + means, -x + 0.1 * noise + means)
    assert correlation(panel, "nothing") > 0.5
    assert correlation(panel, "method") < -0.9
    assert permutation_p(panel, "nothing") == pytest.approx(1.0), "two methods: both orders are as extreme"


def test_exchanging_whole_methods_has_as_many_outcomes_as_orders() -> None:
    x = np.arange(4.0)[None, :, None] + np.zeros((6, 4, 1))
    assert permutation_p(Panel(x, x), "nothing") == pytest.approx(2 / factorial(4))


def test_a_true_prediction_is_found() -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=(10, 5, 3))
    panel = Panel(x, x + random.normal(size=x.shape))
    for within in ("seed", "method"):
        found = seed_interval(panel, within, resamples=500)
        assert found.low is not None
        assert found.low > 0
        assert permutation_p(panel, within) < 0.01


def false_findings(within: str, seeds: int, repeats: int) -> int:
    """Of so many studies without any association, how many intervals leave out 0.

    Classes of one run move together, as those of real runs do; methods differ in their means.
    """
    random, missed = np.random.default_rng(3), 0
    means = 0.0 if within == "seed" else 3 * random.normal(size=(2, 1, 4, 1))
    for _ in range(repeats):
        own, shared = random.normal(size=(2, seeds, 4, 3)), random.normal(size=(2, seeds, 4, 1))
        x, y = own + shared + means
        found = seed_interval(Panel(x, y), within, resamples=1000, seed=int(random.integers(2**31)))
        assert found.low is not None
        assert found.high is not None
        missed += not found.low <= 0 <= found.high
    return missed


@pytest.mark.parametrize("within", ["seed", "method"])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_false_findings_over_seeds_are_near_nominal(within: str, seeds: int) -> None:
    missed = false_findings(within, seeds, 200)
    assert stats.binomtest(missed, 200, 0.08, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize("within", ["seed", "method"])
def test_a_bootstrap_over_three_seeds_would_find_what_is_not_there(
    within: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why there is none below 10 seeds."""
    monkeypatch.setattr("tailgrad.evidence.analyses.rank_association.FEWEST_SEEDS", 3)
    assert false_findings(within, 3, 100) > 12


@pytest.mark.parametrize("within", ["seed", "method"])
def test_false_findings_of_the_permutation_test(within: str) -> None:
    random, repeats = np.random.default_rng(4), 200
    found = 0
    for _ in range(repeats):
        x, y = random.normal(size=(2, 5, 4, 3)) + random.normal(size=(2, 5, 4, 1))
        found += permutation_p(Panel(x, y), within, resamples=99) <= 0.05
    assert stats.binomtest(found, repeats, 0.05, alternative="greater").pvalue > 0.01


def test_wrong_panels_are_refused() -> None:
    with pytest.raises(InputError, match="must both be"):
        Panel(X, Y[:, :4])
    with pytest.raises(InputError, match="finite"):
        Panel(X * np.nan, Y)
    with pytest.raises(InputError, match="within must be a known name"):
        correlation(Panel(X, Y), "seeds")


@pytest.mark.parametrize("seeds", [6, 12])
def test_redrawn_splits_widen_the_jackknife_as_nadeau_and_bengio(seeds: int) -> None:
    x, noise = np.random.default_rng(6).normal(size=(2, seeds, 5, 3))
    panel, rho_splits = Panel(x, 0.2 * x + noise), 0.1
    left = [
        correlation(Panel(np.delete(panel.x, s, 0), np.delete(panel.y, s, 0)), "seed") for s in range(seeds)
    ]
    error = np.std(left, ddof=0) * (seeds - 1) ** 0.5
    half = stats.t.ppf(0.975, seeds - 1) * error * (1 + seeds * rho_splits) ** 0.5
    found = seed_interval(panel, "seed", extra_variance=rho_splits)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    assert found.how == f"jackknife 95% over {seeds} seeds, Nadeau-Bengio"
