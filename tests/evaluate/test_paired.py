import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from tailgrad.checks import InputError
from tailgrad.evaluate import ONE_SEED, PairedDifference, holm, mcnemar_exact, paired_difference, wilcoxon

FIGURES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=10)


@given(FIGURES)
def test_agrees_with_scipys_paired_test(pairs: list[tuple[float, float]]) -> None:
    a, b = (list(column) for column in zip(*pairs, strict=True))
    found = paired_difference(a, b)
    if np.std(np.subtract(a, b)) > 1e-9:
        wanted = stats.ttest_rel(a, b)
        interval = wanted.confidence_interval(0.95)
        assert found.p == pytest.approx(wanted.pvalue)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@given(FIGURES, st.floats(0.01, 2))
def test_verdict_follows_the_interval_and_flips_with_the_order(
    pairs: list[tuple[float, float]], rho: float
) -> None:
    a, b = (list(column) for column in zip(*pairs, strict=True))
    found, flipped = (
        paired_difference(a, b, test_train_ratio=rho),
        paired_difference(b, a, test_train_ratio=rho),
    )
    words = {"better": "worse", "worse": "better", "cannot be told": "cannot be told"}
    assert flipped.verdict == words[found.verdict]
    if found.verdict == "better":
        assert found.low >= 0
        assert found.p < 0.05
    assert PairedDifference.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_resampled_splits_widen_the_interval_by_the_stated_factor() -> None:
    a, b = [0.64, 0.66, 0.65, 0.69], [0.60, 0.61, 0.62, 0.63]
    plain, corrected = paired_difference(a, b), paired_difference(a, b, test_train_ratio=0.25)
    factor = ((1 / 4 + 0.25) / (1 / 4)) ** 0.5
    assert corrected.high - corrected.mean == pytest.approx(factor * (plain.high - plain.mean))
    assert corrected.p > plain.p
    assert "Nadeau-Bengio" in corrected.how


def test_one_seed_concludes_nothing() -> None:
    found = paired_difference([0.9], [0.1])
    assert (found.low, found.high, found.p, found.verdict) == (None, None, None, ONE_SEED)


def test_equal_differences_conclude_nothing() -> None:
    same, shifted = paired_difference([0.3, 0.4], [0.3, 0.4]), paired_difference([0.3, 0.5], [0.2, 0.4])
    assert (same.p, same.verdict, same.mean) == (1.0, "cannot be told", 0.0)
    assert (shifted.p, shifted.low, shifted.verdict) == (None, None, "cannot be told")


@pytest.mark.parametrize("seeds", [3, 5])
def test_interval_covers_at_few_seeds_and_a_bootstrap_would_not(seeds: int) -> None:
    random, truth = np.random.default_rng(seeds), 0.02
    held = bootstrap_held = 0
    for _ in range(2000):
        noise = random.normal(0.0, 0.03, (2, seeds))
        a, b = 0.6 + truth + noise[0], 0.6 + noise[1]
        found = paired_difference(a.tolist(), b.tolist())
        held += found.low <= truth <= found.high
        means = (a - b)[random.integers(0, seeds, (200, seeds))].mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        bootstrap_held += low <= truth <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)
    assert bootstrap_held / 2000 < 0.88


@pytest.mark.parametrize(("lost", "p"), [(0, 0.25), (1, 0.375), (2, 0.453), (3, 0.508)])
def test_worked_mcnemar_figures(lost: int, p: float) -> None:
    # Three more images of thirteen right, after `lost` that were right before are lost.
    before = np.array([True] * 3 + [False] * 10)
    after = np.array([False] * lost + [True] * 6 + [False] * (7 - lost))
    found = mcnemar_exact(after, before)
    assert (found.only_a, found.only_b) == (3 + lost, lost)
    assert round(found.p, 3) == p


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_agrees_with_statsmodels(pairs: list[tuple[bool, bool]]) -> None:
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    if (a != b).any():
        assert mcnemar_exact(a, b).p == pytest.approx(mcnemar(table, exact=True).pvalue)
    else:
        assert mcnemar_exact(a, b).p == 1


def test_wilcoxon_needs_six_pairs_that_differ() -> None:
    a = np.linspace(0.1, 0.8, 7)
    b = a - np.array([0.03, 0.01, -0.02, 0.05, 0.04, 0.06, 0.07])
    assert wilcoxon(a, b) == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert wilcoxon(a[:5], b[:5]) is None
    assert wilcoxon(a, a) is None


@given(st.lists(st.integers(-4, 4).filter(bool), min_size=6, max_size=9))
def test_wilcoxon_counts_every_sign_where_differences_tie(found: list[int]) -> None:
    ranks = stats.rankdata(np.abs(found))
    signs = (np.arange(2 ** len(found))[:, None] >> np.arange(len(found))) & 1
    sums, observed = signs @ ranks, ranks[np.array(found) > 0].sum()
    wanted = min(1.0, 2 * min((sums <= observed).mean(), (sums >= observed).mean()))
    assert wilcoxon(found, [0.0] * len(found)) == pytest.approx(wanted)


def test_wilcoxon_of_shares_is_that_of_their_images() -> None:
    """Differences of 3 of 100 images each: those of the shares differ in their last bits."""
    a, b = [90, 63, 72, 81, 54, 45, 55, 30], [87, 60, 69, 84, 57, 42, 52, 30]
    shares = wilcoxon([n / 100 for n in a], [n / 100 for n in b])
    assert shares == wilcoxon(a, b) == pytest.approx(stats.binomtest(2, 7).pvalue)
    assert wilcoxon([0.0] * 8, [0.0] * 8) is None


@pytest.mark.parametrize("n", [6, 13, 14, 50, 51])
def test_wilcoxon_agrees_with_scipy_without_ties(n: int) -> None:
    found = np.random.default_rng(n).normal(0.4, 1.0, n)
    assert wilcoxon(found, np.zeros(n)) == pytest.approx(stats.wilcoxon(found).pvalue)


@pytest.mark.parametrize("tests", [1, 2, 5, 12])
def test_holm_agrees_with_statsmodels(tests: int) -> None:
    values = (np.random.default_rng(tests).random(tests) ** 3).tolist()
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1])
    assert holm(values * 2) == pytest.approx(multipletests(values * 2, method="holm")[1])


def test_holm_leaves_out_what_was_not_tested() -> None:
    assert holm([None, 0.02, None]) == [None, 0.02, None]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: paired_difference([], []), "got 0 and 0"),
        (lambda: paired_difference([1.0], [1.0, 2.0]), "got 1 and 2"),
        (lambda: paired_difference([float("nan")], [1.0]), "nan"),
        (lambda: paired_difference([1.0], [1.0], test_train_ratio=0.0), "test_train_ratio"),
        (lambda: mcnemar_exact([True], [True, False]), r"got \(1,\) and \(2,\)"),
        (lambda: holm([0.1, 1.2]), r"p_values\[1\] must be in \[0, 1\], got 1.2"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_nadeau_bengio_covers_where_splits_overlap() -> None:
    # Differences over resampled splits share what the common images do to them: correlation rho / (1 + rho).
    random, truth, rho, seeds = np.random.default_rng(0), 0.02, 0.25, 5
    shared = (rho / (1 + rho)) ** 0.5 * random.normal(size=(2000, 1))
    own = (1 / (1 + rho)) ** 0.5 * random.normal(size=(2000, seeds))
    held = plain_held = 0
    for differences in truth + 0.03 * (shared + own):
        corrected, plain = (
            paired_difference(differences.tolist(), [0.0] * seeds, test_train_ratio=ratio)
            for ratio in (rho, None)
        )
        held += corrected.low <= truth <= corrected.high
        plain_held += plain.low <= truth <= plain.high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)
    assert plain_held / 2000 < 0.89


@given(st.permutations(list(range(6))))
def test_the_order_of_seeds_does_not_matter(order: list[int]) -> None:
    a, b = np.linspace(0.5, 0.7, 6) ** 2, np.linspace(0.45, 0.72, 6)
    found, moved = paired_difference(a, b), paired_difference(a[order], b[order])
    assert moved.mean == pytest.approx(found.mean)
    assert moved.p == pytest.approx(found.p)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_never_lowers_and_keeps_the_order(values: list[float]) -> None:
    corrected = holm(values)
    assert all(low <= high <= 1 for low, high in zip(values, corrected, strict=True))
    ranked = [corrected[i] for i in np.argsort(values, kind="stable")]
    assert ranked == sorted(ranked)
