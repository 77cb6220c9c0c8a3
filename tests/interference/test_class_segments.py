"""Batches sorted by class, and parameter gradients in that order."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tailgrad.interference.ordered import ordered
from tailgrad.interference.rules import Call
from tailgrad.interference.segments import in_segments


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.booleans())
def test_every_class_lies_between_its_bounds(labels: list[int], rest: bool) -> None:
    target = torch.tensor(labels)
    found = in_segments(target, rest=rest)
    assert sorted(found.order.tolist()) == list(range(len(labels)))
    assert sorted(found.classes) == sorted(set(labels))
    ends = [*found.bounds, len(labels)] if found.has_rest else found.bounds
    for place, label in enumerate(found.classes):
        held = found.order[ends[place] : ends[place + 1]]
        assert sorted(held.tolist()) == [i for i, other in enumerate(labels) if other == label]
    assert found.has_rest == (rest and len(set(labels)) > 1)
    if found.has_rest:
        assert labels.count(found.classes[-1]) == max(map(labels.count, labels))


def test_rows_of_a_tensor_that_parameters_made_come_back_in_the_order_of_the_batch() -> None:
    torch.manual_seed(0)
    made, data, grad = torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 3)
    call = Call(torch.mul, (made, data), {}, [0], [0, 1])
    order = torch.tensor([2, 0, 3, 1])
    (first, second) = [stack[0] for _, _, stack in ordered(call, grad, [0, 1, 3], order)]
    expected = torch.zeros(4, 3)
    expected[2] = (grad * data)[2]
    torch.testing.assert_close(first, expected)
    expected = grad * data
    expected[[1, 2]] = 0
    torch.testing.assert_close(second, expected)


def test_tokens_of_an_example_stay_together() -> None:
    torch.manual_seed(0)
    inputs, grad = torch.randn(6, 3), torch.randn(6, 2)  # three examples of two rows each
    call = Call(F.linear, (inputs, torch.zeros(2, 3)), {}, [1], [0])
    ((_, _, stack),) = ordered(call, grad, [0, 1, 2], torch.tensor([1, 2, 0]))
    torch.testing.assert_close(stack[0], grad[2:4].T @ inputs[2:4])
    torch.testing.assert_close(stack[1], grad[4:6].T @ inputs[4:6])
