"""One pass over logits [N, K] in blocks: predictions, likelihood and calibration in bounded memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailgrad.checks import in_range
from tailgrad.evaluate.confusion import Floats, Integers, Values, checked_shape, class_indices, refuse_outside

# Cells [N, K] in double precision at once in each thread: 8 MB, and every common test set of up to 100
# classes in one block.
_CELLS = 2**20


@dataclass(frozen=True, slots=True)
class Scored:
    """What the softmax of N logit rows says against their targets.

    Args:
        predicted: class of the largest logit [N].
        confidence: its probability [N].
        nll: negative log-likelihood of the target in nats [N].
        class_ece: class-wise calibration error [K].

    Example: see ``scored``.
    """

    predicted: Integers
    confidence: Floats
    nll: Floats
    class_ece: Floats


@dataclass(frozen=True, slots=True)
class _Block:
    predicted: Integers
    confidence: Floats
    nll: Floats
    lowest_bin: Floats
    """Confidence minus success summed over the cells of the first bin [K]."""
    places: Integers
    """Bin times K plus class of each cell in a higher bin."""
    gaps: Floats
    """Confidence minus success of these."""


def scored(logits: Values, target: Values, num_classes: int | None = None, bins: int = 15) -> Scored:
    """Softmax, in double precision, a block of images at a time and blocks side by side on the cores.

    Args:
        logits: [N, K], finite.
        target: [N].
        num_classes: K wanted, or None for any.
        bins: of the calibration error, at least 1.

    Raises:
        InputError: bad shapes, lengths or indices, or logits that are not finite.

    Example:
        >>> found = scored([[0.0, 0.0], [0.0, 5.0]], [0, 1])
        >>> found.predicted.tolist(), found.nll.round(4).tolist()
        ([0, 1], [0.6931, 0.0067])
    """
    in_range("bins", bins, 1)
    values = checked_shape(logits, num_classes)
    classes = class_indices(target, values.shape[1], "target", len(values))
    edges = np.linspace(0, 1, bins + 1)
    blocks = list(_blocks(values, classes, edges))
    places = np.concatenate([block.places for block in blocks])
    gaps = np.concatenate([block.gaps for block in blocks])
    # Of no place at all NumPy counts whole numbers.
    by_bin = np.bincount(places, weights=gaps, minlength=bins * values.shape[1]).astype(np.float64)
    by_bin = by_bin.reshape(bins, -1)
    by_bin[0] += sum(block.lowest_bin for block in blocks)
    return Scored(
        np.concatenate([block.predicted for block in blocks]),
        np.concatenate([block.confidence for block in blocks]),
        np.concatenate([block.nll for block in blocks]),
        np.abs(np.ascontiguousarray(by_bin.T)).sum(1) / len(values),
    )


def _blocks(values: NDArray[Any], classes: Integers, edges: Floats) -> Iterator[_Block]:
    rows = max(1, _CELLS // values.shape[1])
    starts = range(0, len(values), rows)
    one = partial(_block, values, classes, edges, rows)
    if len(starts) == 1:
        yield one(0)
        return
    # NumPy lets go of the interpreter in every step; results come in the order of the images.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from pool.map(one, starts)


def _block(values: NDArray[Any], classes: Integers, edges: Floats, rows: int, start: int) -> _Block:
    part = slice(start, start + rows)
    found, target = values[part], classes[part]
    refuse_outside(found, np.isfinite(found), "logits", "finite numbers", start)
    each, predicted = np.arange(len(found)), found.argmax(1)
    z = found.astype(np.float64, order="C")
    z -= z.max(1, keepdims=True)
    own = z[each, target]
    np.exp(z, out=z)
    total = z.sum(1, keepdims=True)
    z /= total
    # Rounding can carry a sum of exponentials one step past 1.
    np.minimum(z, 1.0, out=z)
    confidence, nll = z[each, predicted], np.log(total[:, 0]) - own
    return _Block(predicted, confidence, nll, *_by_class(z, target, edges))


def _by_class(z: Floats, target: Integers, edges: Floats) -> tuple[Floats, Integers, Floats]:
    """Gaps class by class; with many classes nearly every probability is in the first bin."""
    classes, flat = z.shape[1], z.reshape(-1)
    higher = np.flatnonzero(flat > edges[1])
    confidence, own = flat[higher], np.arange(len(target)) * classes + target
    places = (np.searchsorted(edges, confidence, side="left") - 1) * classes + higher % classes
    gaps = confidence - (higher % classes == target[higher // classes])
    low = flat[own] <= edges[1]
    flat[higher] = 0
    flat[own[low]] -= 1
    return z.sum(0), places, gaps
