"""Figures of hard predictions, followed along examples that change over to one class."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


class Objective(Protocol):
    """A figure to maximise, as a function of how many examples have changed over to class k.

    Example:
        >>> objective: Objective = Gains(np.eye(2), np.array([1, 0]))
        >>> objective.along(np.array([0, 0]), 1, np.array([0, 1])).tolist()
        [0.0, 1.0, 0.0]
    """

    def may_gain(self, rival: Integers, k: int) -> NDArray[np.bool_]:
        """Whether changing over to k could be worth it for each example [N] that its rival has now."""

    def along(self, rival: Integers, k: int, order: Integers) -> Floats:
        """Values [M + 1], up to one constant, after the first 0 to M examples of ``order`` changed over."""


class Gains:
    """``sum_i gain[y_i, a_i]`` over targets y and decisions a: balanced accuracy, mean cost.

    Args:
        gain: [K, K].
        target: [N].

    Example:
        >>> Gains(np.eye(2), np.array([1, 0])).may_gain(np.array([0, 0]), 1).tolist()
        [True, False]
    """

    def __init__(self, gain: Floats, target: Integers) -> None:
        self.gain = gain
        self.target = target

    def may_gain(self, rival: Integers, k: int) -> NDArray[np.bool_]:
        """Where k gains more than the rival."""
        return self._change(rival, k, self.target) > 0

    def along(self, rival: Integers, k: int, order: Integers) -> Floats:
        """Change of the sum."""
        return np.append(0.0, np.cumsum(self._change(rival[order], k, self.target[order])))

    def _change(self, rival: Integers, k: int, target: Integers) -> Floats:
        return self.gain[:, k][target] - self.gain[target, rival]


class MacroF1:
    """``mean_c 2 TP_c / (n_c + predicted_c)`` over the classes that occur in the targets.

    Only examples of k count as a gain for k, which keeps a class from collecting the mistakes of others.

    Args:
        target: [N].
        num_classes: K.

    Example:
        >>> MacroF1(np.array([1, 0]), 2).along(np.array([0, 0]), 1, np.array([0, 1])).round(3).tolist()
        [0.333, 1.0, 0.333]
    """

    def __init__(self, target: Integers, num_classes: int) -> None:
        self.target = target
        self.support = np.bincount(target, minlength=num_classes)

    def may_gain(self, rival: Integers, k: int) -> NDArray[np.bool_]:  # noqa: ARG002 - of the protocol
        """Where k is the target."""
        return np.asarray(self.target == k)

    def along(self, rival: Integers, k: int, order: Integers) -> Floats:
        """The figure itself."""
        hit = self.target == rival
        hits = np.bincount(rival[hit], minlength=len(self.support))
        size = self.support + np.bincount(rival, minlength=len(self.support))
        left, hit = rival[order], hit[order]
        gone, gone_hits = _earlier_in_class(left, hit)
        total, right = size[left] - gone, hits[left] - gone_hits
        change = 2 * (right - hit) / np.maximum(total - 1, 1) - 2 * right / total
        own = np.append(0, np.cumsum(self.target[order] == k))
        joined = 2 * own / (self.support[k] + np.arange(len(own)))
        start = (2 * hits / np.maximum(size, 1)).sum()
        figure: Floats = (start + np.append(0, np.cumsum(change)) + joined) / np.count_nonzero(self.support)
        return figure


def _earlier_in_class(left: Integers, hit: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    # For each example, how many of its class come before it, and how many of those are hits.
    order = np.argsort(left, kind="stable")
    before = np.append(0, np.cumsum(hit[order]))[:-1]
    starts = np.flatnonzero(np.append(True, np.diff(left[order]) != 0))
    first = np.repeat(starts, np.diff(np.append(starts, len(left))))
    gone, gone_hits = np.empty_like(order), np.empty_like(order)
    gone[order] = np.arange(len(left)) - first
    gone_hits[order] = before - before[first]
    return gone, gone_hits
