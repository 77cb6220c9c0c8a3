"""False Head Rate against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad import InputError
from tailgrad.evaluate import false_head_rate, thirds, wilson

COUNTS = (50, 40, 20, 10, 4, 2)
LABELS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


@given(pairs=LABELS, counts=st.permutations(COUNTS))
@settings(max_examples=50, deadline=None)
def test_rates_are_what_counting_image_by_image_gives(
    pairs: list[tuple[int, int]], counts: list[int]
) -> None:
    groups = thirds(counts)
    head, tail = set(groups["head"]), set(groups["tail"])
    found = false_head_rate([p for p, _ in pairs], [y for _, y in pairs], counts)
    confused = sum(y in tail and p in head for p, y in pairs)
    other_way = sum(y in head and p in tail for p, y in pairs)
    assert found.rate == wilson(confused, sum(y in tail for _, y in pairs))
    assert found.false_tail == wilson(other_way, sum(y in head for _, y in pairs))
    assert found.of_predictions == wilson(confused, sum(p in head for p, _ in pairs))
    for k, one in zip(found.tail, found.by_class, strict=True):
        assert one == wilson(sum(y == k and p in head for p, y in pairs), sum(y == k for _, y in pairs))


def test_a_tail_image_called_middle_or_tail_is_no_false_head() -> None:
    target = [4, 4, 5, 5]
    assert false_head_rate([2, 3, 4, 5], target, COUNTS).rate.value == 0
    assert false_head_rate([0, 1, 0, 1], target, COUNTS).rate.value == 1


def test_with_two_classes_one_is_the_head_and_one_the_tail() -> None:
    found = false_head_rate([0, 0, 1], [1, 0, 1], (3, 9))
    assert (found.head, found.tail) == ((1,), (0,))
    assert found.rate.value == 0
    assert found.false_tail.value == 0.5


@pytest.mark.parametrize(
    ("predicted", "target", "counts", "said"),
    [
        ([0], [0], (3,), "at least 2 classes, got 1"),
        ([0, 1], [0], (3, 1), r"predicted must have one entry an image \(1\), got 2"),
        ([5], [0], (3, 1), r"predicted must hold class indices from 0 to 1, got predicted\[0\]=5"),
        ([0], [2], (3, 1), r"target must hold class indices from 0 to 1, got target\[0\]=2"),
    ],
)
def test_bad_input_is_named(
    predicted: list[int], target: list[int], counts: tuple[int, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        false_head_rate(np.array(predicted), np.array(target), counts)
