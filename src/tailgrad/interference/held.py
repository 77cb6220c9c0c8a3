"""Examples of each class held in memory, for what has to see them more than once."""

from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.interference.trees import Tree, example_bytes, map_leaves

_HELD_BYTES = 2**32


def hold(
    stream: Iterable[tuple[Tree, Tensor]], asked: Collection[int], names: Sequence[str], limit: int | None
) -> dict[int, list[Tree]]:
    """The first examples of each class asked for, as they came; the stream is left once all have ``limit``.

    Args:
        stream: inputs [n, ...] (or a tree of them) with class indices [n].
        asked: the classes to hold.
        names: K class names.
        limit: at most this many examples of each class, or None for all.

    Raises:
        InputError: a label outside 0 .. K-1, no example of any class asked for, more than 4 GiB.

    Example:
        >>> stream = [(torch.arange(4.0), torch.tensor([1, 0, 1, 1]))]
        >>> hold(stream, {1}, ["a", "b"], 2)
        {1: [tensor([0., 2.])]}
    """
    held: dict[int, list[Tree]] = {}
    room = dict.fromkeys(asked, 2**62 if limit is None else limit)
    size = 0
    for inputs, target in stream:
        for label in torch.unique(target).tolist():
            _check_label(label, names)
            rows = (target == label).nonzero()[:, 0][: room.get(label, 0)]
            if len(rows):
                held.setdefault(label, []).append(_take(inputs, rows))
                room[label] -= len(rows)
                size += len(rows) * example_bytes(inputs)
        _check_size(size)
        if not any(room.values()):
            break
    if not held:
        wanted = ", ".join(repr(names[label]) for label in sorted(asked))
        raise InputError(
            f"data must hold an example of a class asked for, got none of {wanted}; check the labels"
        )
    return held


def _take(inputs: Tree, rows: Tensor) -> Tree:
    return map_leaves(lambda t: t[rows.to(t.device)], inputs)


def _check_label(label: int, names: Sequence[str]) -> None:
    if not 0 <= label < len(names):
        raise InputError(
            f"target must be in 0 to {len(names) - 1}, got {label}; give the model one logit a class"
        )


def _check_size(size: int) -> None:
    if size > _HELD_BYTES:
        raise InputError(
            f"the examples held must fit into {_HELD_BYTES / 1e9:.1f} GB, got {size / 1e9:.1f} GB; "
            "choose fewer classes or a lower max_per_class"
        )
