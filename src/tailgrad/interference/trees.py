"""Tensors nested in tuples, lists and dictionaries: the inputs of networks that take more than one."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tailgrad.types import TableInputs

Tree = Any


def leaves(tree: Tree) -> Iterator[Tensor]:
    """Every tensor of the tree, in order.

    Example:
        >>> [t.item() for t in leaves({"a": torch.tensor(1), "b": (torch.tensor(2), None)})]
        [1, 2]
    """
    if isinstance(tree, Tensor):
        yield tree
        return
    if isinstance(tree, TableInputs):
        tree = (tree.numbers, tree.categories)
    parts = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, tuple | list) else ()
    for part in parts:
        yield from leaves(part)


def map_leaves(change: Callable[[Tensor], Any], tree: Tree) -> Tree:
    """The same tree with ``change`` applied to every tensor; mappings become dictionaries.

    Rows of a table (``TableInputs``) stay such.

    Example:
        >>> map_leaves(lambda t: t + 1, (torch.tensor(1), "kept"))
        (tensor(2), 'kept')
    """
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, TableInputs):
        return TableInputs(change(tree.numbers), change(tree.categories))
    if isinstance(tree, Mapping):
        return {key: map_leaves(change, value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        items = [map_leaves(change, value) for value in tree]
        return items if isinstance(tree, list) else tuple(items)
    return tree


def join(trees: list[Tree]) -> Tree:
    """Trees of one form, their tensors put end to end along the first dimension.

    Example:
        >>> join([{"a": torch.zeros(1, 2)}, {"a": torch.ones(2, 2)}])["a"].shape
        torch.Size([3, 2])
    """
    if len(trees) == 1:
        return trees[0]
    columns = iter([torch.cat(column) for column in zip(*map(leaves, trees), strict=True)])
    return map_leaves(lambda _: next(columns), trees[0])


def cut(tree: Tree, low: int, high: int) -> Tree:
    """Examples ``low`` to ``high`` of every tensor; views.

    Example:
        >>> cut((torch.arange(5), torch.arange(5)), 1, 3)
        (tensor([1, 2]), tensor([1, 2]))
    """
    return map_leaves(lambda t: t[low:high], tree)


def length(tree: Tree) -> int:
    """Number of examples: the first dimension of the first tensor.

    Example:
        >>> length({"a": torch.zeros(3, 2)})
        3
    """
    return len(next(leaves(tree)))


def form(tree: Tree) -> tuple[tuple[int, ...], ...]:
    """Shape of one example, tensor by tensor; trees of one form can be joined.

    Example:
        >>> form((torch.zeros(3, 2), torch.zeros(3)))
        ((2,), ())
    """
    return tuple(tuple(t.shape[1:]) for t in leaves(tree))


def example_bytes(tree: Tree) -> int:
    """Bytes of one example.

    Example:
        >>> example_bytes((torch.zeros(3, 2), torch.zeros(3)))
        12
    """
    return sum(t[:1].nbytes for t in leaves(tree))


def example_numbers(tree: Tree) -> int:
    """Numbers in one example.

    Example:
        >>> example_numbers((torch.zeros(3, 2), torch.zeros(3)))
        3
    """
    return sum(t[:1].numel() for t in leaves(tree))
