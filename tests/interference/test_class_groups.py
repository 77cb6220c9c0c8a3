"""Grouping of classes: planted groups, all partitions of small sets, and what noise must not decide."""

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.interference import agreement, group_classes


def _symmetric(size: int, seed: int) -> Any:
    values = np.random.default_rng(seed).normal(size=(size, size))
    return values + values.T


def _inside(values: Any, label: Any) -> float:
    rows, columns = np.triu_indices(len(values), 1)
    return float(values[rows, columns][np.equal(*(np.asarray(label)[i] for i in (rows, columns)))].sum())


def _measured(conflict: Any, null: Any, reliability: Any) -> Any:
    return SimpleNamespace(
        conflict=np.array(conflict),
        null=np.array(null),
        reliability=reliability,
        counts=np.ones(len(conflict)),
    )


@given(st.integers(2, 4), st.integers(0, 1000))
def test_planted_groups_are_found_in_any_order(groups: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.permutation(np.arange(4 * groups) % groups)
    values = np.where(truth[:, None] == truth, 0.5, -0.5) + 0.1 * _symmetric(4 * groups, seed)
    found = group_classes(values, groups)
    assert len(set(zip(truth.tolist(), found, strict=True))) == groups
    assert found == group_classes(values.copy(), groups)
    first = [found.index(b) for b in range(groups)]
    assert first == sorted(first)


@pytest.mark.parametrize("seed", range(12))
def test_no_partition_of_few_classes_is_much_better(seed: int) -> None:
    values = _symmetric(7, seed)
    found = group_classes(values, 3)
    every = [label for label in product(range(3), repeat=7) if len(set(label)) == 3]
    best = max(_inside(values, label) for label in every)
    ours = _inside(values, found)
    assert ours <= best + 1e-9
    spread = np.array([_inside(values, label) for label in every])
    assert (spread > ours + 1e-9).mean() < 0.02


@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 1000))
def test_no_group_is_empty_and_no_single_move_helps(size: int, groups: int, seed: int) -> None:
    groups, values = min(groups, size), _symmetric(size, seed)
    found = group_classes(values, groups)
    assert sorted(set(found)) == list(range(groups))
    before = _inside(values, found)
    for k, b in product(range(size), range(groups)):
        moved = [*found[:k], b, *found[k + 1 :]]
        if len(set(moved)) == groups:
            assert _inside(values, moved) <= before + 1e-9


def test_undecided_classes_join_the_largest_group_and_take_none_for_themselves() -> None:
    values = np.zeros((7, 7))
    sides = np.array([1, 1, 1, -1, -1])
    values[:5, :5] = np.outer(sides, sides)
    assert group_classes(values, 2) == [0, 0, 0, 1, 1, 0, 0]
    assert sorted(set(group_classes(np.zeros((4, 4)), 3))) == [0, 1, 2]


def test_reliable_classes_count_by_their_excess() -> None:
    conflict, null = [[1, -0.4], [-0.4, 1]], [[1, -0.1], [-0.1, 1]]
    for reliability in (np.ones(2), None):
        found = agreement(_measured(conflict, null, reliability))
        np.testing.assert_allclose(found, [[0, -0.3], [-0.3, 0]])


def test_noise_draws_the_null_as_it_draws_the_cosine() -> None:
    """Two rare classes that agree as the null says: their plain excess is a conflict that is not there."""
    random, true, dimensions = np.random.default_rng(0), 0.7, 4000
    null, found, plain = np.array([[1, true], [true, 1]]), [], []
    for _ in range(200):
        base = random.normal(size=(2, dimensions)) / np.sqrt(dimensions)
        base[1] = true * base[0] + np.sqrt(1 - true**2) * base[1]
        seen = base + random.normal(size=(2, dimensions)) / np.sqrt(dimensions)  # as much noise as gradient
        unit = seen / np.linalg.norm(seen, axis=1, keepdims=True)
        measured = _measured(unit @ unit.T, null, np.full(2, 0.5))
        found.append(agreement(measured)[0, 1])
        plain.append(measured.conflict[0, 1] - true)
    assert np.mean(plain) == pytest.approx(-0.35, abs=0.01)
    assert np.mean(found) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("nothing", [0.0, -0.3, float("nan")])
def test_a_class_that_is_all_noise_says_nothing(nothing: float) -> None:
    conflict = np.full((3, 3), -0.5)
    conflict[2] = conflict[:, 2] = np.nan if nothing != nothing else 0.9
    found = agreement(_measured(conflict, np.zeros((3, 3)), np.array([1.0, 1.0, nothing])))
    np.testing.assert_allclose(found, [[0, -0.5, 0], [-0.5, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("values", "groups", "message"),
    [
        (np.full((3, 3), np.nan), 2, r"agreement must be finite and \[K, K\], got \[3, 3\] with 9"),
        (np.zeros((3, 2)), 2, r"got \[3, 2\]"),
        (np.zeros((3, 3)), 4, r"groups must be in \[1, 3\], got 4"),
    ],
)
def test_bad_values_are_named(values: Any, groups: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        group_classes(values, groups)
