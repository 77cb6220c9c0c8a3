"""Offsets of the classes, tuned one after the other, each over all its cuts at once."""

import numpy as np
from numpy.typing import NDArray

from tailgrad.posthoc.objectives import Objective

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]
_EQUAL = 1e-12


def tuned_offsets(logits: Floats, target: Integers, objective: Objective, sweeps: int) -> Floats:
    """Offsets o [K] for ``argmax z + o``, at a point where none could be moved alone for a better objective.

    A class tries every cut between two neighbouring values at which an example changes over to it, up to the
    last example that could bring a gain. An offset moves only for a gain, and of equal cuts to the one
    nearest 0. Classes absent from ``target`` keep 0.

    Args:
        logits: [N, K], K at least 2.
        target: [N].
        objective: what is maximised, built for these targets.
        sweeps: passes over the classes at most; they end where a pass moves nothing.

    Example:
        >>> from tailgrad.posthoc.objectives import MacroF1
        >>> logits, target = np.array([[2.0, 0.0], [1.0, 0.0], [3.0, 0.0]]), np.array([0, 1, 0])
        >>> tuned_offsets(logits, target, MacroF1(target, 2), 5).round(3).tolist()
        [-1.5, 0.0]
    """
    offsets = np.zeros(logits.shape[1], logits.dtype)
    columns = np.ascontiguousarray(logits.T)
    top, winner = logits.max(1), logits.argmax(1)
    # Between closer neighbours no offset in single precision parts them safely.
    gap = 1e-6 * max(1.0, float(top.max()), -float(logits.min()))
    present = np.unique(target)
    for _ in range(sweeps):
        before = offsets.copy()
        for k in present:
            others, rival = _best_of_others(logits, offsets, k, top, winner)
            # At equality arg-max takes the first class.
            needed = others - columns[k]
            needed = np.where(rival < k, needed, np.nextafter(needed, -np.inf, dtype=needed.dtype))
            offsets[k] = _best_offset(needed, rival, int(k), objective, offsets[k], gap)
            won = offsets[k] > needed
            top, winner = np.where(won, columns[k] + offsets[k], others), np.where(won, k, rival)
        if np.array_equal(before, offsets):
            break
    return offsets


def _best_of_others(
    logits: Floats, offsets: Floats, k: int, top: Floats, winner: Integers
) -> tuple[Floats, Integers]:
    # Only where k leads is the best of the others not known already.
    led = np.flatnonzero(winner == k)
    rest = logits[led] + offsets
    rest[:, k] = -np.inf
    others, rival = top.copy(), winner.copy()
    others[led], rival[led] = rest.max(1), rest.argmax(1)
    return others, rival


def _best_offset(
    needed: Floats, rival: Integers, k: int, objective: Objective, current: float, gap: float
) -> float:
    last = needed[objective.may_gain(rival, k)].max(initial=needed.min())
    within = needed <= max(last, current)
    tried = np.flatnonzero(within)
    order = tried[np.argsort(needed[tried])]
    values = objective.along(rival, k, order)
    reached = values[np.count_nonzero(needed < current)]
    low = np.append(-np.inf, needed[order])
    high = np.append(needed[order], needed[~within].min(initial=np.inf))
    values = np.where(high - low > gap, values, -np.inf)
    if values.max() <= reached + _EQUAL:
        return current
    best = values >= values.max() - _EQUAL
    # At most 1 into an interval: a wide one says nothing about how far to go.
    step = np.minimum((high[best] - low[best]) / 2, 1)
    places = np.clip(0.0, low[best] + step, high[best] - step)
    return float(places[np.abs(places).argmin()])
