import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tailgrad.evaluate import Confusion, holm, wilson
from tailgrad.report.look_alikes import _holm, look_alikes, mistake_table, mistakes, summed


def confusion(matrix: list[list[int]]) -> Confusion:
    return Confusion.of(np.array(matrix))


def test_expected_errors_and_p_follow_from_the_margins() -> None:
    counts = [[50, 12, 1, 1], [10, 50, 2, 0], [1, 1, 50, 2], [2, 0, 1, 50]]
    (pair,) = look_alikes(confusion(counts))
    assert (pair.first, pair.second, pair.errors) == (0, 1, 22)
    wrong = np.array(counts) * (1 - np.eye(4, dtype=int))
    expected = 0.0
    for i, j in ((0, 1), (1, 0)):
        elsewhere = np.delete(np.delete(wrong, i, axis=0), i, axis=1)
        share = elsewhere[:, j - (j > i)].sum() / elsewhere.sum()
        expected += wrong[i].sum() * max(share, 1 / 3)
    assert pair.expected == pytest.approx(expected)
    p = min(1.0, 2 * stats.poisson.sf(21, expected))
    assert pair.p == pytest.approx(min(1.0, 6 * p))


def test_a_class_that_everybody_is_taken_for_looks_like_nobody() -> None:
    biased = np.diag([50] * 6)
    biased[:, 0] += 15
    assert look_alikes(Confusion.of(biased)) == []


def test_two_classes_and_no_errors_have_no_look_alikes() -> None:
    assert look_alikes(confusion([[5, 20], [20, 5]])) == []
    assert look_alikes(confusion([[5, 0, 0], [0, 5, 0], [0, 0, 5]])) == []
    assert mistake_table(confusion([[5, 0], [0, 5]]), ("a", "b")).rows == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 5))
def test_the_short_correction_is_that_of_all_tests(p: list[float], more: int) -> None:
    whole = holm([*p, *[1.0] * more])[: len(p)]
    np.testing.assert_allclose(_holm(np.array(p), len(p) + more), np.array(whole, dtype=float))


def test_errors_are_ranked_by_the_low_end_of_their_share() -> None:
    found = mistakes(confusion([[40, 10, 0], [0, 1, 1], [0, 3, 97]]))
    lows = [wilson(10, 50).low, wilson(1, 2).low, wilson(3, 100).low]
    assert [(one.true, one.predicted) for one in found] == [(0, 1), (1, 2), (2, 1)]
    assert [one.share.low for one in found] == lows == sorted(lows, reverse=True)


def test_runs_are_added_up() -> None:
    a, b = confusion([[3, 1], [0, 2]]), confusion([[1, 0], [4, 1]])
    np.testing.assert_array_equal(np.asarray(summed([a, b])), [[4, 1], [4, 3]])
    assert mistake_table(summed([a, b]), ("x", "y"), runs=2).caption.endswith("counts of 2 runs together")
