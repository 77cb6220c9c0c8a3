"""Mixed batches sorted into chunks that hold one class each."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

_CHUNK = 256  # examples in a full chunk of small inputs
_CHUNK_ELEMENTS = 2**22  # 27 colour images of 224 x 224: bounds the activations of one forward pass
_HELD = 4096  # examples waiting in all buckets together
_HELD_BYTES = 2**30

Chunk = tuple[int, Tensor]


def class_chunks(
    stream: Iterable[tuple[Tensor, Tensor]], num_classes: int, max_per_class: int | None = None
) -> Iterator[Chunk]:
    """(class, inputs [n, ...]) with one class a chunk, so that one backward pass serves one class.

    Examples wait in a bucket per class until it is full, at most 4,096 examples or 1 GiB altogether; then the
    fullest bucket goes first. What is left at the end follows in class order.

    Args:
        stream: inputs [n, ...] with class indices [n].
        num_classes: K; the stream is left once each class 0 .. K-1 has ``max_per_class`` examples.
        max_per_class: only the first this many examples of each class, or None for all.

    Example:
        >>> stream = [(torch.arange(4.0), torch.tensor([1, 0, 1, 1]))]
        >>> [(c, x.tolist()) for c, x in class_chunks(stream, 2, max_per_class=2)]
        [(0, [1.0]), (1, [0.0, 2.0])]
    """
    buckets = _Buckets()
    taken: dict[int, int] = {}
    for inputs, target in stream:
        for label in torch.unique(target).tolist():
            mine = inputs[target == label]
            if max_per_class is not None:
                mine = mine[: max_per_class - taken.get(label, 0)]
            taken[label] = taken.get(label, 0) + len(mine)
            yield from buckets.add(label, mine)
        if max_per_class is not None and all(taken.get(k, 0) >= max_per_class for k in range(num_classes)):
            break
    for label in sorted(buckets.waiting):
        yield from buckets.flush(label, keep=0)


class _Buckets:
    def __init__(self) -> None:
        self.waiting: dict[int, list[Tensor]] = {}

    def add(self, label: int, inputs: Tensor) -> Iterator[Chunk]:
        if len(inputs) == 0:
            return
        self.waiting.setdefault(label, []).append(inputs)
        chunk = chunk_length(inputs)
        if self._length(label) >= chunk:
            yield from self.flush(label, keep=chunk - 1)
        while self._held() > min(_HELD, _HELD_BYTES // max(1, inputs[0].nbytes)):
            yield from self.flush(max(self.waiting, key=self._length), keep=0)

    def flush(self, label: int, keep: int) -> Iterator[Chunk]:
        """Hand out chunks of a class while more than ``keep`` of its examples wait."""
        if not self.waiting.get(label):
            return
        rest = torch.cat(self.waiting[label])
        chunk = chunk_length(rest)
        while len(rest) > keep:
            yield label, rest[:chunk]
            rest = rest[chunk:]
        self.waiting[label] = [rest.clone()] if len(rest) else []  # a view would keep the spent inputs alive

    def _length(self, label: int) -> int:
        return sum(map(len, self.waiting[label]))

    def _held(self) -> int:
        return sum(map(self._length, self.waiting))


def chunk_length(inputs: Tensor) -> int:
    """How many of these inputs [n, ...] go through the network at once: 256, or fewer if they are large.

    Example:
        >>> chunk_length(torch.zeros(1, 3, 32, 32)), chunk_length(torch.zeros(1, 3, 224, 224))
        (256, 27)
    """
    return max(1, min(_CHUNK, _CHUNK_ELEMENTS // max(1, inputs[0].numel())))
