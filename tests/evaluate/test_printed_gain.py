from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from tailgrad.checks import InputError
from tailgrad.evaluate import (
    ColumnCounts,
    gain_of_class,
    gain_overall,
    gain_without_best,
    mcnemar_cases,
    mcnemar_exact,
)


def test_evidence_for_three_of_thirteen_against_six() -> None:
    cases = mcnemar_cases(3, 6, 13)
    assert [(case.lost, case.gained) for case in cases] == [(0, 3), (1, 4), (2, 5), (3, 6)]
    assert [round(case.p, 3) for case in cases] == [0.25, 0.375, 0.453, 0.508]
    numbers = gain_of_class("phys", 13, 3, 6).numbers
    assert numbers["images_that_decide"] == 3
    assert round(numbers["fisher"], 3) == 0.411
    assert [(round(w["low"], 3), round(w["high"], 3)) for w in numbers["wilson"]] == [
        (0.082, 0.503),
        (0.232, 0.709),
    ]
    difference = numbers["newcombe"]
    assert [round(difference[key], 3) for key in ("value", "low", "high")] == [0.231, -0.125, 0.519]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 4), st.data())
def test_cases_are_those_of_every_way_to_place_correct_images(total: int, data: st.DataObject) -> None:
    a, b = (data.draw(st.integers(0, total)) for _ in range(2))
    wanted = set()
    for right_a, right_b in product(product((0, 1), repeat=total), repeat=2):
        if (sum(right_a), sum(right_b)) == (a, b):
            found = mcnemar_exact(np.array(right_a), np.array(right_b))
            wanted.add((found.only_a, found.only_b, round(found.p, 9)))
    assert {(c.lost, c.gained, round(c.p, 9)) for c in mcnemar_cases(a, b, total)} == wanted


@pytest.mark.parametrize("counts", [(30, 52, 60), (52, 30, 60)])
def test_p_is_statsmodels_and_grows_with_the_images_lost(counts: tuple[int, int, int]) -> None:
    cases = mcnemar_cases(*counts)
    for case in cases:
        assert case.p == pytest.approx(mcnemar([[0, case.lost], [case.gained, 0]], exact=True).pvalue)
    assert [case.p for case in cases] == sorted(case.p for case in cases)


def test_a_gain_that_every_case_shows_is_told_from_one_that_none_does() -> None:
    sure, unsure = gain_of_class("a", 100, 10, 90), gain_of_class("a", 100, 50, 55)
    assert (sure.verdict, unsure.verdict) == ("consistent", "cannot be told")
    assert sure.numbers["mcnemar_worst"] < 1e-9
    assert unsure.numbers["mcnemar_worst"] > 0.05 > unsure.numbers["mcnemar_best"] - 0.05


def test_overall_gain_takes_the_fewest_and_the_most_images_lost() -> None:
    supports = (40, 41, 44, 19, 13, 25)
    before = ColumnCounts((25, 24, 32, 15, 3, 19), (45, 37, 43, 22, 10, 25))
    after = ColumnCounts((23, 24, 34, 15, 6, 17), (38, 39, 55, 20, 10, 20))
    numbers = gain_overall(supports, before, after).numbers
    assert numbers["correct"] == [118, 119]
    assert (numbers["best"]["lost"], numbers["best"]["gained"]) == (4, 5)
    most = sum(
        min(a, n - b) for n, a, b in zip(supports, before.true_positive, after.true_positive, strict=True)
    )
    assert numbers["worst"]["lost"] == most
    assert numbers["best"]["p"] == numbers["worst"]["p"] == 1.0


def test_macro_f1_without_the_class_that_gains_most() -> None:
    stays = gain_without_best(("a", "b", "c"), (0.5, 0.5, 0.2), (0.6, 0.6, 0.9))
    assert (stays.verdict, stays.numbers["class"]) == ("consistent", "c")
    assert stays.numbers["without"] == pytest.approx([0.5, 0.6])
    turns = gain_without_best(("a", "b", "c"), (0.5, 0.5, 0.2), (0.4, 0.5, 0.9))
    assert turns.verdict == "cannot be told"


@pytest.mark.parametrize("counts", [(3, 6, 5), (-1, 2, 5)])
def test_more_correct_images_than_images_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match=r"correct images must be in \[0, 5\]"):
        mcnemar_cases(*counts)


def test_a_loss_is_no_gain_however_sure() -> None:
    table = ColumnCounts((45, 45), (50, 50)), ColumnCounts((5, 5), (50, 50))
    found = (
        gain_of_class("a", 100, 90, 10),
        gain_overall((50, 50), *table),
        gain_without_best(("a", "b"), (0.8, 0.8), (0.2, 0.3)),
    )
    assert [one.verdict for one in found] == ["cannot be told"] * 3
