"""Mixed batches sorted by class into packs: batches in which the examples of one class stand together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tailgrad.interference.trees import (
    Tree,
    cut,
    example_bytes,
    example_numbers,
    form,
    join,
    length,
    map_leaves,
)

# Examples in a full pack of small inputs: on two CPU cores passes of 64 or 128 images of 32 pixels took an
# eighth less time an image than passes of 256, whose activations outgrow the caches.
_CHUNK = 256 if torch.cuda.is_available() else 128
_CHUNK_NUMBERS = 2**22  # 27 colour images of 224 x 224: bounds the activations of one forward pass
_HELD = 4096  # examples waiting in all buckets together
_HELD_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Pack:
    """Examples sorted so that each segment holds one class and one fold.

    Args:
        inputs: [n, ...], or a tree of such tensors.
        bounds: S + 1 positions; segment s holds examples ``bounds[s]`` to ``bounds[s + 1]``.
        labels: class of each segment [S].
        folds: fold of each segment [S], 0 without folds.

    Example:
        >>> Pack(torch.zeros(5, 2), [0, 3, 5], [1, 0], [0, 0]).target()
        tensor([1, 1, 1, 0, 0])
    """

    inputs: Tree
    bounds: list[int]
    labels: list[int]
    folds: list[int]

    def __len__(self) -> int:
        return self.bounds[-1]

    def sizes(self) -> Tensor:
        """Examples in each segment [S]."""
        return torch.tensor(self.bounds).diff()

    def target(self) -> Tensor:
        """Class of each example [n]."""
        return torch.repeat_interleave(torch.tensor(self.labels), self.sizes())


def packs(
    stream: Iterable[tuple[Tree, Tensor]],
    *,
    folds: int = 1,
    max_per_class: int | None = None,
    num_classes: int = 0,
) -> Iterator[Pack]:
    """Sort a stream of mixed batches into packs.

    Examples wait in a bucket per class until it fills a pack, at most 4,096 examples or 1 GiB altogether;
    then the fullest buckets go first. What is left at the end is packed in class order. Whatever leaves a
    bucket is spread evenly over the folds, the next where the last left off, so that a class of fewer
    examples than folds gets one fold an example.

    Args:
        stream: inputs [n, ...] (or a tree of them) with class indices [n].
        folds: number of folds m of each class.
        max_per_class: only the first this many examples of each class, or None for all.
        num_classes: K; with ``max_per_class`` the stream is left once classes 0 .. K-1 have that many.

    Example:
        >>> stream = [(torch.arange(4.0), torch.tensor([1, 0, 1, 1]))]
        >>> [(p.inputs.tolist(), p.labels, p.bounds) for p in packs(stream, max_per_class=2)]
        [([1.0, 0.0, 2.0], [0, 1], [0, 1, 3])]
    """
    buckets: dict[object, _Buckets] = {}
    taken: dict[int, int] = {}
    turn: dict[int, int] = {}
    for inputs, target in stream:
        mine = buckets.setdefault(form(inputs), _Buckets(folds, turn))
        for label, part in _by_class(inputs, target):
            if max_per_class is not None:
                part = cut(part, 0, max_per_class - taken.get(label, 0))
            taken[label] = taken.get(label, 0) + length(part)
            if 0 < length(part) < len(target):  # a view would keep its whole batch alive while it waits
                part = map_leaves(torch.clone, part)
            yield from mine.add(label, part)
            yield from _let_go(list(buckets.values()))
        if (
            max_per_class
            and num_classes
            and min(taken.get(k, 0) for k in range(num_classes)) >= max_per_class
        ):
            break
    for mine in buckets.values():
        yield from mine.rest()


def _let_go(buckets: list["_Buckets"]) -> Iterator[Pack]:
    """Packs of whatever takes most memory, until what waits is within the limits."""
    while sum(b.held for b in buckets) > _HELD or sum(b.held_bytes for b in buckets) > _HELD_BYTES:
        yield max(buckets, key=lambda b: b.held_bytes).fullest()


def sorted_pack(inputs: Tree, target: Tensor) -> Pack:
    """One batch as a pack, sorted by class.

    Example:
        >>> sorted_pack(torch.arange(3.0), torch.tensor([1, 0, 1])).inputs
        tensor([1., 0., 2.])
    """
    parts = list(_by_class(inputs, target))
    bounds = [0]
    for _, part in parts:
        bounds.append(bounds[-1] + length(part))
    return Pack(join([part for _, part in parts]), bounds, [label for label, _ in parts], [0] * len(parts))


def _by_class(inputs: Tree, target: Tensor) -> Iterator[tuple[int, Tree]]:
    order = torch.argsort(target, stable=True)
    labels, sizes = torch.unique_consecutive(target[order], return_counts=True)
    inputs = map_leaves(lambda t: t[order.to(t.device)], inputs)
    low = 0
    for label, size in zip(labels.tolist(), sizes.tolist(), strict=True):
        yield label, cut(inputs, low, low + size)
        low += size


@dataclass
class _Buckets:
    """Inputs of one form, by class."""

    folds: int
    turn: dict[int, int]  # fold that a class's next example goes to; shared by all forms
    waiting: dict[int, list[Tree]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    held: int = 0
    each: int = 0  # bytes of one example
    chunk: int = 1

    @property
    def held_bytes(self) -> int:
        return self.held * max(1, self.each)

    def add(self, label: int, inputs: Tree) -> Iterator[Pack]:
        size = length(inputs)
        if size == 0:
            return
        self.waiting.setdefault(label, []).append(inputs)
        self.sizes[label] = self.sizes.get(label, 0) + size
        self.held += size
        self.each, self.chunk = example_bytes(inputs), chunk_length(inputs)
        while self.sizes.get(label, 0) >= self.chunk:
            yield self._pack([(label, self.chunk)])

    def fullest(self) -> Pack:
        return self._pack(self._fill(sorted(self.sizes, key=self.sizes.__getitem__, reverse=True)))

    def rest(self) -> Iterator[Pack]:
        while self.held:
            yield self._pack(self._fill(sorted(self.sizes)))

    def _fill(self, labels: list[int]) -> list[tuple[int, int]]:
        """Classes in the given order until a pack is full; the last one may be cut."""
        chosen, room = [], self.chunk
        for label in labels:
            take = min(room, self.sizes[label])
            chosen.append((label, take))
            room -= take
            if room == 0:
                break
        return chosen

    def _pack(self, chosen: list[tuple[int, int]]) -> Pack:
        parts, bounds, labels, folds = [], [0], [], []
        for label, size in chosen:
            parts.append(self._take(label, size))
            number = min(self.folds, size)
            start = self.turn.get(label, 0)
            self.turn[label] = (start + size) % self.folds
            for f in range(number):
                labels.append(label)
                folds.append((start + f) % self.folds)
                bounds.append(bounds[-1] + size // number + (f < size % number))
        return Pack(join(parts), bounds, labels, folds)

    def _take(self, label: int, size: int) -> Tree:
        inputs = join(self.waiting.pop(label))
        left = self.sizes.pop(label) - size
        self.held -= size
        if left:
            rest = cut(inputs, size, size + left)
            # a view would keep the spent inputs alive, but a long rest would be copied again and again
            self.waiting[label] = [rest if left > 4 * size else map_leaves(torch.clone, rest)]
            self.sizes[label] = left
        return cut(inputs, 0, size)


def chunk_length(inputs: Tree) -> int:
    """How many of these inputs [n, ...] go through the network: 128 (256 beside a GPU), fewer if large.

    Example:
        >>> chunk_length(torch.zeros(1, 3, 224, 224))
        27
    """
    return max(1, min(_CHUNK, _CHUNK_NUMBERS // max(1, example_numbers(inputs))))
