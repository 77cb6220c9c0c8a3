"""Change of conflict: intervals, the mean over pairs that share classes, and pairs chosen without bias."""

import json
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tailgrad.checks import InputError
from tailgrad.interference.compare import compare
from tailgrad.interference.comparison import AFTER, BEFORE, COUNTS, Change, Comparison

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """As much of a measurement as a comparison reads."""

    class_names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    conflict: Array
    null: Array
    disattenuated: Array | None = None
    interval: Array | None = None
    primary: str = "backbone"


def _square(upper: list[float] | Array) -> Array:
    """A symmetric matrix with unit diagonal from its entries above the diagonal, row by row."""
    size = round((1 + np.sqrt(1 + 8 * len(upper))) / 2)
    matrix = np.eye(size)
    matrix[np.triu_indices(size, 1)] = upper
    return matrix + matrix.T - np.eye(size)


def _measured(
    upper: list[float] | Array, half: float | list[float] | Array | None = 0.1, **other: Any
) -> Measured:
    values = _square(upper)
    size = len(values)
    names = tuple(f"c{k}" for k in range(size))
    # the plain conflict is half the estimate: rare classes are noisy
    plain = Measured(names, np.arange(size, 0, -1) * 10, values / 2, np.zeros((size, size)))
    if half is not None:
        width = _square(np.broadcast_to(half, len(upper))) - np.eye(size)
        plain = replace(plain, disattenuated=values, interval=np.stack([values - width, values + width]))
    return replace(plain, **other)


def _random(seed: int, size: int = 6, noise: float = 0.1, truth: Array | None = None) -> Measured:
    random = np.random.default_rng(seed)
    number = size * (size - 1) // 2
    truth = np.zeros(number) if truth is None else truth
    return _measured(truth + noise * random.normal(size=number), 1.645 * noise)


# One pair.


def test_change_and_interval_of_pairs_by_hand() -> None:
    result = compare(_measured([-0.5, 0.2, 0.1], 0.3), _measured([-0.1, 0.2, -0.7], 0.4))
    expected = np.array([0.4, 0.0, -0.8])
    upper = np.triu_indices(3, 1)
    np.testing.assert_allclose(result.difference[upper], expected)
    np.testing.assert_allclose(result.interval[0][upper], expected - 0.5)  # 0.3, 0.4, 0.5
    np.testing.assert_allclose(result.interval[1][upper], expected + 0.5)
    assert result.beyond_noise[upper].tolist() == [False, False, True]
    assert result.disattenuated
    assert np.isnan(np.diagonal(result.difference)).all()
    assert not np.diagonal(result.beyond_noise).any()
    pair = result.pairs[BEFORE][0]
    assert (pair.first, pair.second) == ("c0", "c1")
    assert (pair.before, pair.after) == (-0.5, -0.1)
    assert pair.change == pytest.approx((0.4, -0.1, 0.9))


def test_ends_cut_off_on_one_side_lengthen_only_the_side_they_speak_of() -> None:
    before, after = _measured([-0.9], 0.3), _measured([0.0], 0.4)
    cut = before.interval.clip(-1, 1)  # type: ignore[union-attr]
    change = compare(replace(before, interval=cut), after).pairs[BEFORE][0].change
    # the low end of the change needs the high end before, the high end the low one, which is now -1
    assert change == pytest.approx((0.9, 0.9 - 0.5, 0.9 + np.hypot(0.4, 0.1)))


def test_interval_of_a_change_covers_it() -> None:
    random = np.random.default_rng(0)
    errors = (0.05, 0.2)
    inside = []
    for _ in range(300):
        truth = random.uniform(-0.5, 0.5, (2, 15))
        measured = [
            _measured(t + e * random.normal(size=15), 1.645 * e) for t, e in zip(truth, errors, strict=True)
        ]
        low, high = compare(*measured).interval[:, *np.triu_indices(6, 1)]
        inside.append((low <= truth[1] - truth[0]) & (truth[1] - truth[0] <= high))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("lacking", ["disattenuated", "interval"])
def test_without_an_estimate_in_one_of_them_plain_conflict_is_compared_and_it_is_said(lacking: str) -> None:
    before, after = _measured([-0.5, 0.2, 0.1]), replace(_measured([-0.1, 0.2, 0.1]), **{lacking: None})
    result = compare(before, after)
    assert not result.disattenuated
    assert result.pairs[BEFORE][0].change.value == pytest.approx(0.2)  # of plain conflict
    assert np.isnan(result.interval).all()
    assert not result.beyond_noise.any()
    assert not np.isnan(result.mean.low)
    assert "plain conflict" in result.summary()
    assert "No interval for single pairs" in result.summary()
    assert "no interval" not in compare(before, before).summary().lower()


# The mean over pairs.


def _brute_mean(difference: dict[tuple[int, int], float]) -> tuple[float, float, float]:
    classes = sorted({k for pair in difference for k in pair})
    left = [np.mean([d for pair, d in difference.items() if k not in pair]) for k in classes]
    n = len(classes)
    error = np.sqrt((n - 1) / n * sum((x - np.mean(left)) ** 2 for x in left))
    mean, t = float(np.mean(list(difference.values()))), stats.t.ppf(0.95, n - 1)
    return mean, mean - t * error, mean + t * error


def test_mean_leaves_out_one_class_at_a_time() -> None:
    before, after = _random(0), _random(1)
    assert after.disattenuated is not None
    after.disattenuated[2, 4] = after.disattenuated[4, 2] = np.nan
    result = compare(before, after)
    pairs = [pair for pair in combinations(range(6), 2) if pair != (2, 4)]
    expected = _brute_mean({pair: float(result.difference[pair]) for pair in pairs})
    assert result.mean == pytest.approx(expected, rel=1e-9)


def test_values_that_only_noise_makes_count_as_one_in_the_mean() -> None:
    result = compare(_measured([-3.0, 0.0, 0.0]), _measured([0.0, 0.0, 0.0]))
    assert result.mean.value == pytest.approx(1 / 3)
    assert result.difference[0, 1] == 3


def test_interval_of_the_mean_respects_that_pairs_share_classes() -> None:
    random, size = np.random.default_rng(2), 10
    rows, columns = np.triu_indices(size, 1)
    inside = independent = 0
    for _ in range(400):
        effect = 0.1 * random.normal(size=size)  # what moves a class moves all its pairs
        change = effect[rows] + effect[columns] + 0.05 * random.normal(size=len(rows))
        mean = compare(_measured(np.zeros(len(rows)), 0.1), _measured(change, 0.1)).mean
        inside += mean.low <= 0 <= mean.high
        independent += abs(mean.value) <= 1.68 * change.std(ddof=1) / np.sqrt(len(rows))
    assert 0.85 < inside / 400 < 0.95
    assert independent / 400 < 0.75


def test_few_pairs() -> None:
    one = compare(_measured([-0.5], 0.3), _measured([0.1], 0.4))
    assert one.mean == pytest.approx((0.6, 0.1, 1.1))
    nan = float("nan")
    star = compare(_measured([-0.5, 0.1, nan]), _measured([0.1, 0.1, 0.1]))  # both pairs hold class 0
    assert star.mean.value == pytest.approx(0.3)
    assert np.isnan(star.mean.low)
    assert "of unknown uncertainty" in star.summary()
    none = compare(_measured([nan]), _measured([0.2]))
    assert np.isnan(none.mean.value)
    assert np.isnan(none.rule_means[BEFORE])
    assert "nothing can be concluded" in none.summary()


def test_the_null_moves_over_the_same_pairs() -> None:
    before, after = _measured([-0.5, 0.1, float("nan")]), _measured([0.1, 0.1, 0.1])
    null = _square([0.2, 0.4, 9.0])  # the last pair was not measurable before
    result = compare(before, replace(after, null=null))
    assert result.null_mean == pytest.approx(0.3)
    assert result.pairs[BEFORE][0].null_change == pytest.approx(0.2)
    assert "the excess moved by +0.00" in result.summary()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_the_other_way_round_everything_changes_sign(seed: int, size: int) -> None:
    one, other = _random(seed, size), _random(seed + 1, size)
    there, back = compare(one, other), compare(other, one)
    np.testing.assert_allclose(there.difference, -back.difference)
    np.testing.assert_allclose(there.interval, -back.interval[::-1])
    np.testing.assert_allclose([*there.mean], [-back.mean.value, -back.mean.high, -back.mean.low])
    assert there.both_choices == pytest.approx(-back.both_choices)
    assert there.rule_means[COUNTS] == pytest.approx(-back.rule_means[COUNTS])
    assert there.chosen[BEFORE] == back.chosen[AFTER]
    assert not compare(one, one).beyond_noise.any()


# Which pairs.


def test_worst_pairs_of_each_measurement_are_shown_for_both() -> None:
    before = _measured([-0.5, 0.2, 0.1, -0.3, 0.0, 0.4])
    after = _measured([0.3, 0.2, -0.6, -0.4, 0.0, 0.4])
    result = compare(before, after, pairs=2)
    assert result.chosen[BEFORE] == ((0, 1), (1, 2))
    assert result.chosen[AFTER] == ((0, 3), (1, 2))
    for rule in (BEFORE, AFTER):
        for (i, j), pair in zip(result.chosen[rule], result.pairs[rule], strict=True):
            assert (pair.before, pair.after) == (before.disattenuated[i, j], after.disattenuated[i, j])  # type: ignore[index]
    assert result.rule_means[BEFORE] == pytest.approx((0.8 - 0.1) / 2)
    assert result.rule_means[AFTER] == pytest.approx((-0.7 - 0.1) / 2)
    assert result.both_choices == pytest.approx(-0.025)


def test_pairs_by_counts_spread_over_rare_and_frequent_classes() -> None:
    counts = np.array([500, 3, 80, 0, 10, 200])
    result = compare(_random(0), replace(_random(1), counts=counts))
    # seen in both: 60, 3, 40, none, 10 and 10 examples
    assert result.chosen[COUNTS] == ((1, 0), (1, 2), (4, 0), (1, 5), (4, 2), (5, 0))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=5, max_size=5), st.integers(0, 10**6))
def test_choice_by_counts_looks_at_no_measurement(counts: list[int], seed: int) -> None:
    one, other = (
        compare(replace(_random(s, 5), counts=np.array(counts)), _random(s + 1, 5), pairs=99).chosen[COUNTS]
        for s in (seed, seed + 2)
    )
    seen = [k for k in range(5) if counts[k]]
    assert one == other
    assert {frozenset(pair) for pair in one} == {frozenset(pair) for pair in combinations(seen, 2)}
    assert len(one) == len(seen) * (len(seen) - 1) // 2


def test_pairs_measurable_only_once_are_not_chosen_by_conflict_and_named_by_counts() -> None:
    nan = float("nan")
    before, after = _measured([-0.9, nan, 0.1]), _measured([nan, 0.2, 0.1])
    result = compare(replace(before, conflict=_square([-0.9, -0.8, 0.1])), after)
    assert result.chosen[BEFORE] == result.chosen[AFTER] == ((1, 2),)
    assert len(result.chosen[COUNTS]) == 3
    assert "c2 and c0 not measurable in both" in result.summary()
    assert result.rule_means[COUNTS] == pytest.approx(0.0)


def _when_nothing_changed(n: int) -> list[Comparison]:
    random = np.random.default_rng(5)
    truth = random.uniform(-0.4, 0.2, 45)
    return [compare(_random(2 * k, 10, 0.1, truth), _random(2 * k + 1, 10, 0.1, truth)) for k in range(n)]


def test_worst_pairs_of_one_measurement_are_biased_and_the_other_rules_are_not() -> None:
    results = _when_nothing_changed(200)
    rules = {rule: np.array([r.rule_means[rule] for r in results]) for rule in (BEFORE, AFTER, COUNTS)}
    error = {rule: found.std() / np.sqrt(200) for rule, found in rules.items()}
    assert rules[BEFORE].mean() > 10 * error[BEFORE]  # "the worst pairs improved", though nothing did
    assert rules[AFTER].mean() < -10 * error[AFTER]
    both = np.array([r.both_choices for r in results])
    for unbiased, noise in ((both, both.std() / np.sqrt(200)), (rules[COUNTS], error[COUNTS])):
        assert abs(unbiased.mean()) < 3.5 * noise
    assert np.mean([r.regressed for r in results]) > 0.8
    better = {rule: _called_better(results, rule) for rule in rules}  # nominal: 5 %
    assert better[COUNTS] == pytest.approx(0.05, abs=0.025)
    assert better[BEFORE] > 0.1


def _called_better(results: list[Comparison], rule: str) -> float:
    return float(np.mean([pair.change.low > 0 for r in results for pair in r.pairs[rule]]))


# Words and files.


def test_summary_states_regression_to_the_mean_only_where_the_choices_disagree() -> None:
    regressed = next(r for r in _when_nothing_changed(5) if r.regressed)
    assert "disagree on the sign" in regressed.summary()
    assert f"average is {regressed.both_choices:+z.2f}," in regressed.summary()
    better = compare(_measured([-0.5, -0.4, -0.3]), _measured([0.1, 0.2, 0.3]))
    assert not better.regressed
    assert "disagree" not in better.summary()
    lines = better.summary().splitlines()
    assert lines[0] == (
        "Change of conflict without sampling noise over 3 classes, parameters 'backbone'; above 0 means less "
        "conflict."
    )
    assert lines[1].startswith("Mean over pairs: +0.60 [+0.60, +0.60], beyond noise.")
    assert (
        "3 of 3 beyond noise: c0 and c1 -0.50 to +0.10, change +0.60 [+0.46, +0.74], null +0.00;" in lines[2]
    )
    assert "too wide where both used the same data" in lines[-1]


def test_dictionary_is_json_and_holds_what_was_found() -> None:
    before, after = _measured([-0.5, float("nan"), 0.1]), _measured([0.1, 0.2, 0.1])
    result = compare(before, after)
    read = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert read["mean"]["value"] == pytest.approx(result.mean.value)
    assert read["pairs"][BEFORE][0]["change"]["low"] == pytest.approx(result.interval[0, 0, 1])
    assert read["conflict"][0][0][2] is None
    assert read["rule_means"].keys() == {BEFORE, AFTER, COUNTS}
    assert read["regressed"] is False
    assert read["summary"] == result.summary()


def test_a_change_whose_interval_touches_0_is_not_beyond_noise() -> None:
    assert not Change(0.1, 0.0, 0.2).beyond_noise
    assert Change(-0.1, -0.2, -0.01).beyond_noise


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"class_names": ("c0", "c1", "x")},
            r"same classes, got 3 and 3, in one only: \['c2', 'x'\]; measure",
        ),
        ({"class_names": ("c0", "c2", "c1")}, r"in one order, got 'c1' and 'c2' as class 1; pass"),
        ({"primary": "head"}, "one parameter group, got 'backbone' and 'head'; measure both"),
    ],
)
def test_refuses_measurements_that_do_not_match(other: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare(_measured([0.0, 0.1, 0.2]), replace(_measured([0.0, 0.1, 0.2]), **other))


def test_refuses_other_numbers_of_classes_and_no_pairs() -> None:
    with pytest.raises(InputError, match=r"got 3 and 2, in one only: \['c2'\]"):
        compare(_measured([0.0, 0.1, 0.2]), _measured([0.0]))
    with pytest.raises(InputError, match=r"pairs must be in \[1, inf\], got 0"):
        compare(_measured([0.0]), _measured([0.0]), pairs=0)
