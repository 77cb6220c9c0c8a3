"""What the attention gates of a branched head do for each class, and how far they differ."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.interference.gram import Array
from tailgrad.interference.observer import Seen

_OPEN = 0.5


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far gate vectors coincide, pair by pair, each [..., M, M].

    Args:
        cosine: cosine of the two vectors.
        max_product: largest product over channels, which bounds the interference left by the gates.
        jaccard: shared over joined channels with a gate above 0.5; NaN where neither has one.

    Source: the attention-overlap bound of arXiv 2606.05740 (eq. 41 was lost; derivation ours).

    Example:
        >>> pair = overlap(np.array([[0.9, 0.8, 0.1, 0.1], [0.1, 0.2, 0.9, 0.8]]))
        >>> [round(m[0, 1].item(), 6) for m in (pair.cosine, pair.max_product, pair.jaccard)]
        [0.282843, 0.16, 0.0]
    """

    cosine: Array
    max_product: Array
    jaccard: Array


@dataclass(frozen=True, slots=True)
class Gates:
    """Mean gates by branch and class.

    Args:
        mean: [B, K, C], NaN for a class without an example.
        between_branches: overlap of the branches for each class, [K, B, B].
        between_classes: overlap of the classes in each branch, [B, K, K].

    Example:
        >>> gate_overlaps(np.full((3, 2, 8), 0.5)).between_branches.cosine.shape
        (2, 3, 3)
    """

    mean: Array
    between_branches: Overlap
    between_classes: Overlap


def overlap(gates: Array) -> Overlap:
    """Overlap measures of gates [..., M, C] between all M x M pairs.

    Example:
        >>> overlap(np.ones((2, 3))).jaccard
        array([[1., 1.],
               [1., 1.]])
    """
    norm = np.linalg.norm(gates, axis=-1)
    lengths = norm[..., :, None] * norm[..., None, :]
    cosine = gates @ gates.swapaxes(-1, -2) / np.where(lengths > 0, lengths, np.nan)
    product = np.stack([(gates[..., m : m + 1, :] * gates).max(-1) for m in range(gates.shape[-2])], axis=-2)
    is_open = np.where(np.isnan(gates), np.nan, gates > _OPEN)
    both = is_open @ is_open.swapaxes(-1, -2)
    size = is_open.sum(-1)
    either = size[..., :, None] + size[..., None, :] - both
    return Overlap(cosine, product, both / np.where(either > 0, either, np.nan))


def gate_overlaps(mean: Array) -> Gates:
    """Overlaps between branches and between classes of mean gates [B, K, C].

    Example:
        >>> gate_overlaps(np.ones((3, 2, 8))).between_classes.jaccard.shape
        (3, 2, 2)
    """
    return Gates(mean, overlap(mean.swapaxes(0, 1)), overlap(mean))


class GateMeans:
    """An observer that averages ``head.gates(what enters the head)`` over each class.

    Example:
        >>> class Head(nn.Module):
        ...     def gates(self, features): return torch.stack([features, 1 - features])
        >>> means = GateMeans(Head(), num_classes=1)
        >>> means.remember(means.head, (torch.full((2, 3), 0.25),))
        >>> means(Seen(0, torch.zeros(2), None))
        >>> means.result(np.array([2])).mean[:, 0, 0]
        array([0.25, 0.75])
    """

    def __init__(self, head: nn.Module, num_classes: int) -> None:
        self.head = head
        self._num_classes = num_classes
        self._entering: Tensor | None = None
        self._sums: Tensor | None = None

    def remember(self, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Keep what enters the head (a forward pre-hook)."""
        self._entering = args[0].detach() if args else None

    def __call__(self, seen: Seen) -> None:
        """Add the gates of the chunk that entered the head last."""
        if self._entering is None:
            return
        entering = self._entering[seen.part]
        with torch.no_grad():
            gates = self.head.gates(entering)  # type: ignore[operator]
        if not isinstance(gates, Tensor) or gates.ndim != 3 or gates.shape[1] != len(entering):
            came = list(gates.shape) if isinstance(gates, Tensor) else type(gates).__name__
            raise InputError(
                f"gates(features) must return [B, N, C] with N = {len(entering)}, got {came}; "
                "stack one gate a branch, or rename the method if it is something else"
            )
        sums = gates.sum(1).cpu().double()
        if self._sums is None:
            self._sums = sums.new_zeros(len(sums), self._num_classes, sums.shape[1])
        self._sums[:, seen.label] += sums

    def result(self, counts: npt.NDArray[np.int64]) -> Gates | None:
        """The class means and their overlaps; None if the head was never entered."""
        if self._sums is None:
            return None
        share = np.where(counts > 0, counts, np.nan)
        return gate_overlaps(self._sums.numpy() / share[None, :, None])


@contextmanager
def gate_means(model: nn.Module, num_classes: int) -> Iterator[GateMeans | None]:
    """Attach to the first module with a ``gates`` method; None where there is none.

    Example:
        >>> with gate_means(nn.Linear(2, 2), 2) as means:
        ...     means is None
        True
    """
    heads = [m for m in model.modules() if _has_gates(m)]
    if not heads:
        yield None
        return
    means = GateMeans(heads[0], num_classes)
    handle = heads[0].register_forward_pre_hook(means.remember)
    try:
        yield means
    finally:
        handle.remove()


def _has_gates(module: nn.Module) -> bool:
    gates = getattr(module, "gates", None)
    return callable(gates) and not isinstance(gates, nn.Module)
