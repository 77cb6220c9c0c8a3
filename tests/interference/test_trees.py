"""Trees of tensors: cut, joined and walked like single tensors."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad.interference.trees import (
    cut,
    example_bytes,
    example_numbers,
    form,
    join,
    leaves,
    length,
    map_leaves,
)

shapes = st.lists(st.integers(1, 3), max_size=2).map(tuple)
forms = st.recursive(
    shapes,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1),
    ),
    max_leaves=5,
)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(n, int) for n in value)


def _built(shape: Any, n: int) -> Any:
    if _is_shape(shape):
        return torch.randn(n, *shape)
    if isinstance(shape, dict):
        return {key: _built(value, n) for key, value in shape.items()}
    return type(shape)(_built(value, n) for value in shape)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return type(one) is type(other) and all(map(_equal, one, other))


@settings(max_examples=50, deadline=None)
@given(shape=forms, n=st.integers(2, 6), at=st.integers(1, 5))
def test_parts_joined_are_the_whole(shape: Any, n: int, at: int) -> None:
    tree, at = _built(shape, n), min(at, n - 1)
    first, rest = cut(tree, 0, at), cut(tree, at, n)
    assert (length(first), length(rest)) == (at, n - at)
    assert form(first) == form(tree)
    assert _equal(join([first, rest]), tree)
    assert _equal(join([tree]), tree)


@settings(max_examples=30, deadline=None)
@given(shape=forms, n=st.integers(1, 4))
def test_sizes_count_every_tensor(shape: Any, n: int) -> None:
    tree = _built(shape, n)
    total = sum(t.numel() for t in leaves(tree))
    assert example_numbers(tree) == total // n
    assert example_bytes(tree) == 4 * total // n


def test_what_is_no_tensor_stays() -> None:
    assert map_leaves(lambda t: t.sum().item(), {"x": torch.ones(2), "name": "a", "none": [None]}) == {
        "x": 2.0,
        "name": "a",
        "none": [None],
    }
    assert list(leaves({"x": 3, "y": ("a", None)})) == []


def test_trees_of_other_forms_are_not_joined() -> None:
    with pytest.raises(ValueError, match="shorter"):
        join([(torch.zeros(1), torch.zeros(1)), (torch.zeros(1),)])
