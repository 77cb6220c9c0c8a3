"""Neural collapse: how far the features are from one equiangular point for each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from tailgrad.interference.gram import Array

Integers = npt.NDArray[np.int64]
_TILE = 1024  # rows of a [K, K] matrix of cosines looked at together


class Block(NamedTuple):
    """Features of n examples that were kept.

    Args:
        features: [n, D].
        labels: [n].
        predictions: the network's arg-max [n], or None where it showed no logits.

    Example:
        >>> Block(np.zeros((2, 3)), np.array([0, 1]), None).features.shape
        (2, 3)
    """

    features: npt.NDArray[np.floating]
    labels: Integers
    predictions: Integers | None


@dataclass(frozen=True, slots=True)
class Collapse:
    """The four signs of neural collapse; every figure is 0 at collapse, None where it has no meaning.

    Every class counts the same, whatever its size: ``mu_G`` is the mean of the class means ``mu_c``,
    ``Sigma_B = mean_c (mu_c - mu_G)(mu_c - mu_G)'`` and ``Sigma_W = mean_c mean_{i: y_i=c} (h_i - mu_c)(h_i -
    mu_c)'``. Only ``nc4`` is a share of all examples; ``mismatch`` has it by class.

    Args:
        nc1: ``tr(Sigma_W pinv(Sigma_B)) / K``.
        equinorm: NC2, standard deviation over mean of ``|mu_c - mu_G|``.
        equiangular: NC2, mean of ``|cos_ij + 1/(K-1)|`` over pairs of centred means.
        angle_spread: NC2, standard deviation of ``cos_ij`` over pairs.
        nc3: ``| W/|W|_F - M/|M|_F |_F`` of classifier weights and centred means [K, D]; None without weights.
        nc4: share of examples where the nearest class mean is not the network's prediction; None without
            logits.
        mismatch: the same for each class [K], NaN for a class without an example.
        used: examples behind ``nc1`` and ``nc4`` [K]; fewer than were seen where features were many.

    Source: Papyan, Han and Donoho 2020, with class-balanced means and scatter.

    Example:
        >>> means = np.array([[1.0, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
        >>> found = collapse(means, [Block(means, np.arange(3), np.arange(3))], weight=2 * means)
        >>> [round(abs(x), 9) for x in (found.nc1, found.equinorm, found.equiangular, found.nc3, found.nc4)]
        [0.0, 0.0, 0.0, 0.0, 0.0]
    """

    nc1: float | None
    equinorm: float | None
    equiangular: float | None
    angle_spread: float | None
    nc3: float | None
    nc4: float | None
    mismatch: Array | None
    used: Integers


def collapse(
    means: Array, blocks: Sequence[Block], *, weight: Array | None = None, counts: Integers | None = None
) -> Collapse:
    """Neural collapse from class means and features kept.

    Args:
        means: [K, D], NaN for a class without an example.
        blocks: features with labels and predictions, all examples or a part of each class.
        weight: classifier weights [K, D]; another shape counts as none.
        counts: examples of each class [K], which weigh ``nc4``; those of the blocks by default.

    Example:
        >>> collapse(np.eye(3), [Block(np.eye(3), np.arange(3), None)]).equiangular < 1e-12
        True
    """
    used = _used(blocks, len(means))
    seen = np.isfinite(means.sum(1))
    centred = means - means[seen].mean(0)
    equiangular, spread = _equiangularity(centred[seen])
    mismatch = _mismatch(means, blocks, used)
    shares = used if counts is None else counts
    return Collapse(
        nc1=_variability(means, centred[seen], blocks, used),
        equinorm=_equinorm(centred[seen]),
        equiangular=equiangular,
        angle_spread=spread,
        nc3=_self_duality(centred, seen, weight),
        nc4=None if mismatch is None else float((mismatch * shares)[seen].sum() / shares[seen].sum()),
        mismatch=mismatch,
        used=used,
    )


def classifier_weight(model: nn.Module, num_classes: int) -> Array | None:
    """Weights [K, D] of the only linear layer with K outputs, or None.

    Example:
        >>> classifier_weight(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)), 3).shape
        (3, 8)
    """
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == num_classes]
    if len(linear) != 1:
        return None
    weight: Array = linear[0].weight.detach().cpu().double().numpy()
    return weight


def _used(blocks: Sequence[Block], num_classes: int) -> Integers:
    used = np.zeros(num_classes, np.int64)
    for block in blocks:
        used += np.bincount(block.labels, minlength=num_classes)
    return used


def _variability(means: Array, centred: Array, blocks: Sequence[Block], used: Integers) -> float | None:
    """NC1 on the K - 1 directions in which the means differ, so that no D x D matrix is needed."""
    axes, between = _axes(centred)
    if len(between) == 0:
        return None
    within = np.zeros(len(between))
    for block in blocks:
        offsets = (block.features - means[block.labels]) @ axes
        within += (1 / used[block.labels]) @ offsets**2
    # Sigma_W = within / K and Sigma_B = between / K on these axes
    return float((within / between).sum() / len(centred))


def _axes(centred: Array) -> tuple[Array, Array]:
    """Directions [D, r] in which the centred means differ, and their sums of squares [r]."""
    if len(centred) < centred.shape[1]:
        _, singular, rows = np.linalg.svd(centred, full_matrices=False)
        squares, axes = singular**2, rows.T
    else:
        squares, axes = np.linalg.eigh(centred.T @ centred)
    clear = squares > max(centred.shape) * np.finfo(float).eps * squares.max(initial=0)
    return axes[:, clear], squares[clear]


def _equinorm(centred: Array) -> float | None:
    lengths = np.linalg.norm(centred, axis=1)
    return float(lengths.std() / lengths.mean()) if lengths.any() else None


def _equiangularity(centred: Array) -> tuple[float, float] | tuple[None, None]:
    """Mean of ``|cos + 1/(K-1)|`` and standard deviation of ``cos``, in tiles of [K, K]."""
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    if len(centred) < 2 or not lengths.all():
        return None, None
    unit, target = centred / lengths, -1 / (len(centred) - 1)
    pairs = len(unit) * (len(unit) - 1)
    away = squares = total = 0.0
    for low in range(0, len(unit), _TILE):
        cosines = unit[low : low + _TILE] @ unit.T - target
        cosines[np.arange(len(cosines)), low + np.arange(len(cosines))] = 0  # a class and itself: no pair
        away += np.abs(cosines).sum()
        total += cosines.sum()
        squares += (cosines**2).sum()
    return float(away / pairs), float(np.sqrt(max(0.0, squares / pairs - (total / pairs) ** 2)))


def _self_duality(centred: Array, seen: npt.NDArray[np.bool_], weight: Array | None) -> float | None:
    if weight is None or weight.shape != centred.shape:
        return None
    sizes = np.linalg.norm(weight[seen]), np.linalg.norm(centred[seen])
    if not all(sizes):
        return None
    return float(np.linalg.norm(weight[seen] / sizes[0] - centred[seen] / sizes[1]))


def _mismatch(means: Array, blocks: Sequence[Block], used: Integers) -> Array | None:
    differ = np.zeros(len(means))
    seen = np.flatnonzero(~np.isnan(means).any(1))
    offsets = (means[seen] ** 2).sum(1) / 2
    for block in blocks:
        if block.predictions is None:
            return None
        nearest = seen[np.argmin(offsets - block.features @ means[seen].T, axis=1)]
        differ += np.bincount(block.labels, nearest != block.predictions, minlength=len(means))
    shares: Array = np.divide(differ, used, out=np.full(len(means), np.nan), where=used > 0)
    return shares
