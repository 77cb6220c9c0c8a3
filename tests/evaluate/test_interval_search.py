from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.evaluate.interval_search import Budget, Options, SearchStoppedError, search

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=0, max_size=4)


def options(group: list[tuple[int, int]]) -> Options:
    rows = np.array(group, dtype=float).reshape(len(group), 2)
    return Options(rows, rows)


@given(st.lists(points, min_size=1, max_size=4), st.integers(0, 12), st.integers(0, 12), st.integers(0, 3))
def test_finds_every_choice_that_trying_all_finds(
    groups: list[list[tuple[int, int]]], first: int, second: int, width: int
) -> None:
    least, most = np.array([first, second], float), np.array([first + width, second], float)
    found = list(search([options(group) for group in groups], least, most, Budget(10**6)))
    wanted = []
    for choice in product(*(range(len(group)) for group in groups)):
        sums = np.sum([group[i] for group, i in zip(groups, choice, strict=True)], axis=0)
        if (least <= sums).all() and (sums <= most).all():
            wanted.append(choice)
    assert sorted(found) == wanted


def test_intervals_meet_the_bounds_if_they_overlap() -> None:
    wide = Options(np.array([[0.0], [10.0]]), np.array([[4.0], [11.0]]))
    assert list(search([wide], np.array([4.0]), np.array([9.0]), Budget(9))) == [(0,)]


def test_a_sum_that_only_intervals_can_rule_out_costs_one_step() -> None:
    groups = [options([(i, 0) for i in range(7)])] * 50
    budget = Budget(10)
    assert not list(search(groups, np.array([301.0, 0.0]), np.array([400.0, 0.0]), budget))
    assert budget.steps == 9


def test_stops_when_the_budget_is_used_up() -> None:
    groups = [options([(1, 0), (3, 0)])] * 12
    with pytest.raises(SearchStoppedError):
        list(search(groups, np.array([19.0, 0.0]), np.array([19.0, 0.0]), Budget(100)))
