import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tailgrad.checks import InputError
from tailgrad.evaluate import critical_difference, holm

# Demsar (2006), table 5: two-tailed critical values of Nemenyi's test at 0.05,
# rounded or cut to three digits.
PUBLISHED = {3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
TABLES = st.integers(3, 5).flatmap(
    lambda k: st.integers(6, 9).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 4), min_size=n, max_size=n), min_size=k, max_size=k)
    )
)


@pytest.mark.parametrize(("methods", "value"), PUBLISHED.items())
def test_nemenyis_critical_values_are_the_published_ones(methods: int, value: float) -> None:
    random = np.random.default_rng(methods)
    found = critical_difference({str(k): random.random(8) for k in range(methods)})
    assert found.critical_difference / np.sqrt(methods * (methods + 1) / 48) == pytest.approx(
        value, abs=1.01e-3
    )


def test_demsars_critical_difference() -> None:
    # Demsar (2006), section 3.2.2: four methods on 14 data sets, 1.25 at 0.05.
    random = np.random.default_rng(0)
    found = critical_difference(dict(enumerate(random.random((4, 14)))))
    assert round(found.critical_difference, 2) == 1.25


@given(TABLES)
def test_agrees_with_scipy_and_brute_force(table: list[list[int]]) -> None:
    values = {f"m{i}": [float(v) for v in row] for i, row in enumerate(table)}
    found = critical_difference(values)
    ranks = stats.rankdata(-np.array(table), axis=0).mean(1)
    assert found.mean_ranks == pytest.approx({f"m{i}": rank for i, rank in enumerate(ranks)})
    assert list(found.mean_ranks.values()) == sorted(ranks)
    if any(row != table[0] for row in table):
        assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*table).pvalue)
    else:
        assert found.friedman_p == 1.0
    pairs = {frozenset((row["a"], row["b"])): row["p"] for row in found.pairs}
    assert len(pairs) == len(table) * (len(table) - 1) // 2
    assert [row["p_holm"] for row in found.pairs] == holm([row["p"] for row in found.pairs])
    json.dumps(found.to_dict(), allow_nan=False)


@given(TABLES)
def test_cliques_hold_exactly_the_pairs_that_are_closer(table: list[list[int]]) -> None:
    found = critical_difference({f"m{i}": [float(v) for v in row] for i, row in enumerate(table)})
    joined = {frozenset(pair) for clique in found.cliques for pair in itertools.combinations(clique, 2)}
    near = {
        frozenset((a, b))
        for a, b in itertools.combinations(found.mean_ranks, 2)
        if found.friedman_p >= 0.05
        or abs(found.mean_ranks[a] - found.mean_ranks[b]) < found.critical_difference
    }
    assert joined == near
    assert set().union(*found.cliques) == set(found.mean_ranks)
    assert not any(set(a) < set(b) for a, b in itertools.permutations(found.cliques, 2))


def test_equal_methods_are_told_apart_in_one_study_of_twenty() -> None:
    random = np.random.default_rng(2)
    found = sum(
        critical_difference(dict(enumerate(random.random((4, 10))))).friedman_p < 0.05 for _ in range(120)
    )
    assert found / 120 < 0.11  # three standard errors above 0.05


def test_too_little_is_said_and_not_tested() -> None:
    few = critical_difference({"a": [1.0] * 5, "b": [2.0] * 5, "c": [3.0] * 5})
    assert (few.critical_difference, few.friedman_p, few.cliques, few.pairs) == (None, None, (), ())
    assert few.reason == "rank tests need 6 seeds or data sets, here 5"
    assert list(few.mean_ranks) == ["c", "b", "a"]
    two = critical_difference({"a": [1.0] * 8, "b": [2.0] * 8})
    assert "three methods or more, here 2" in two.reason
    enough = critical_difference({"a": [1.0] * 6, "b": [2.0] * 6, "c": [3.0] * 6})
    assert enough.reason == ""
    assert enough.cliques == (("c", "b"), ("b", "a"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"a": [1.0], "b": [1.0, 2.0]}, "as many figures for every method"),
        ({}, "as many figures for every method"),
        ({"a": [], "b": []}, "at least one"),
        ({"a": [1.0], "b": [float("nan")]}, "nan.* for b"),
    ],
)
def test_bad_input_is_named(values: dict[str, list[float]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        critical_difference(values)


def test_means_that_differ_in_their_last_bit_share_a_rank() -> None:
    values = {"a": [(0.9 + 0.8) / 2] * 6, "b": [0.85] * 6, "c": [0.2] * 6}
    found = critical_difference(values)
    assert found.mean_ranks == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert found == critical_difference(values | {"a": [0.85] * 6})
