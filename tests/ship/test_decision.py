"""From probabilities to a decision, against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tailgrad.checks import InputError
from tailgrad.evaluate import apply_threshold
from tailgrad.ship.decision import Rule, focused, softmax, unreadable

NAMES = ("a", "b", "c")
rows = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(0, 1))
logits = arrays(np.float64, st.tuples(st.integers(0, 6), st.just(3)), elements=st.floats(-800, 800))


@given(rows, st.integers(0, 2), st.floats(0, 1.1))
def test_the_focus_decides_as_evaluation_does(shares: np.ndarray, focus: int, threshold: float) -> None:
    found = focused(shares, focus, threshold)
    assert found == apply_threshold(shares, focus, threshold).tolist()
    for row, k in zip(shares, found, strict=True):
        others = [p for j, p in enumerate(row) if j != focus]
        assert k == focus if row[focus] >= threshold else (k != focus and row[k] == max(others))


@given(logits)
def test_softmax_is_that_of_the_formula(values: np.ndarray) -> None:
    found = softmax(values)
    assert found.shape == values.shape
    for row, shares in zip(values.tolist(), found.tolist(), strict=True):
        wanted = [1 / math.fsum(math.exp(min(other - one, 700)) for other in row) for one in row]
        assert shares == pytest.approx(wanted, abs=1e-12)


@given(rows, st.integers(1, 5), st.floats(0, 1), st.none() | st.integers(0, 2))
def test_a_decision_is_what_a_loop_says(
    shares: np.ndarray, top_k: int, abstain: float, chosen: int | None
) -> None:
    found = Rule(NAMES, top_k, abstain).decide("x.png", shares[0], chosen)
    row = shares[0].tolist()
    assert [p for _, p in found.top] == sorted(row, reverse=True)[:top_k]
    assert len({name for name, _ in found.top}) == min(top_k, 3)
    assert all(row[NAMES.index(name)] == p for name, p in found.top)
    k = row.index(max(row)) if chosen is None else chosen
    assert (found.name, found.probability, found.probabilities) == (NAMES[k], row[k], tuple(row))
    assert found.abstained == (row[k] < abstain)


def test_ties_go_to_the_first_class() -> None:
    assert [name for name, _ in Rule(NAMES, 3).decide("x", np.full(3, 1 / 3)).top] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"top_k": 0}, "top_k must be in"),
        ({"top_k": 1.5}, r"top_k must be a whole number, got 1\.5"),
        ({"abstain": -0.1}, "abstain must be in"),
        ({"abstain": float("nan")}, "abstain must be in"),
    ],
)
def test_numbers_outside_their_range_are_named(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Rule(NAMES, **wrong)  # type: ignore[arg-type]


def test_what_cannot_be_read_has_no_class() -> None:
    found = unreadable("a.png", "an empty file")
    assert (found.name, found.probabilities, found.top, found.error) == ("", (), (), "an empty file")
    assert math.isnan(found.probability)
    assert not found.abstained
