"""Many classes out of few: images carry barcodes, and a class is what an image shows and its barcode."""

import numpy as np
import torch
from numpy.typing import NDArray

from tailgrad.checks import in_range
from tailgrad.evidence.analyses.small_sets import Part

_ROUNDING = 1e-9


def zipf_counts(num_classes: int, total: int, exponent: float) -> NDArray[np.int64]:
    """Examples of each class, ``n_k`` proportional to ``(k + 1)^-exponent``, at least 1, together ``total``.

    The largest class takes what rounding leaves.

    Args:
        num_classes: K, at least 1.
        total: N, at least K.
        exponent: 0 is uniform, 1 is Zipf's law.

    Raises:
        InputError: fewer examples than classes.

    Example:
        >>> zipf_counts(4, 25, 1.0)
        array([12,  6,  4,  3])
    """
    in_range("total", total, num_classes)
    weights = np.arange(1, num_classes + 1, dtype=np.float64) ** -exponent
    rare = np.zeros(num_classes, bool)
    share = total * weights / weights.sum()
    while (newly := ~rare & (share < 1 - _ROUNDING)).any():
        rare |= newly
        share = (total - rare.sum()) * weights / weights[~rare].sum()
    counts: NDArray[np.int64] = np.where(rare, 1, np.floor(share + _ROUNDING)).astype(np.int64)
    counts[0] += total - counts.sum()
    return counts


def barcoded(
    part: Part, counts: NDArray[np.int64], num_shown: int, bits: int, seed: int, *, order: NDArray[np.int64]
) -> Part:
    """Images drawn with replacement, ``counts[k]`` of class ``order[k]``, each with its barcode appended.

    Class ``y`` shows ``y % num_shown``; its barcode is ``y // num_shown`` as ``bits`` numbers of -1 or 1.

    Args:
        part: images as vectors [N, D]; its classes are what images show.
        counts: examples wanted of each class, commonest first.
        num_shown: classes of ``part``.
        bits: of a barcode; ``num_shown * 2**bits`` classes can be had.
        seed: of the draw.
        order: class at each place of ``counts``.

    Example:
        >>> part = Part(torch.eye(2), torch.arange(2))
        >>> made = barcoded(part, np.array([3, 1, 1, 1]), 2, 1, seed=0, order=np.arange(4))
        >>> made.inputs[-1], made.target.bincount()
        (tensor([0., 1., 1.]), tensor([3, 1, 1, 1]))
    """
    rng = np.random.default_rng(seed)
    shown = part.target.numpy()
    members = [np.flatnonzero(shown == k) for k in range(num_shown)]
    labels = np.repeat(order, counts)
    index = np.concatenate(
        [rng.choice(members[y % num_shown], n) for y, n in zip(order.tolist(), counts.tolist(), strict=True)]
    )
    codes = (labels // num_shown)[:, None] >> np.arange(bits) & 1
    inputs = torch.cat([part.inputs[torch.as_tensor(index)], torch.as_tensor(2.0 * codes - 1).float()], 1)
    return Part(inputs, torch.as_tensor(labels))
