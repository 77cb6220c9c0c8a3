"""Where the classes lie in feature space: mean features and the angles between them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tailgrad.interference.gram import Array
from tailgrad.interference.observer import Seen


@dataclass(frozen=True, slots=True)
class Geometry:
    """Class-mean features and their angles, in degrees.

    Uncentred angles are dominated by the common mean of mostly positive features; the centred ones subtract
    the mean of the class means, in which every class counts the same. Under neural collapse they approach
    ``arccos(-1/(K-1))``.

    Args:
        means: [K, D], NaN for a class without an example.
        angles: [K, K], uncentred.
        centred_angles: [K, K].

    Source: arXiv 2606.05740 eq. 26-27 (uncentred); the centred version is ours.

    Example:
        >>> class_geometry(np.array([[1.0, 0, 0], [1, 1, 0]])).angles.round(6)
        array([[ 0., 45.],
               [45.,  0.]])
    """

    means: Array
    angles: Array
    centred_angles: Array


def class_geometry(means: Array) -> Geometry:
    """Angles between class means [K, D].

    Example:
        >>> class_geometry(np.array([[3.0, 1], [3, -1]])).centred_angles[0, 1].round(6).item()
        180.0
    """
    seen = ~np.isnan(means).any(1)
    return Geometry(means, angles(means), angles(means - means[seen].mean(0)))


def angles(vectors: Array) -> Array:
    """Angles in degrees between the rows of [K, D]; NaN for a zero row.

    Example:
        >>> angles(np.array([[1.0, 0], [0, 2]]))
        array([[ 0., 90.],
               [90.,  0.]])
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, np.nan)
    result: Array = np.degrees(np.arccos(np.clip(unit @ unit.T, -1.0, 1.0)))
    np.fill_diagonal(result, np.where(np.isnan(unit).any(1), np.nan, 0.0))
    return result


class FeatureMeans:
    """An observer that averages the pooled features of each class.

    Example:
        >>> means = FeatureMeans(num_classes=2)
        >>> means(Seen(1, torch.zeros(2), torch.ones(2, 3)))
        >>> means.result(torch.tensor([0, 2])).means[1]
        array([1., 1., 1.])
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._sums: Tensor | None = None

    def __call__(self, seen: Seen) -> None:
        """Add the features of one class."""
        if seen.features is None:
            return
        if self._sums is None:
            self._sums = torch.zeros(self._num_classes, seen.features.shape[1], dtype=torch.float64)
        self._sums[seen.label] += seen.features.cpu().double().sum(0)

    def result(self, counts: Tensor) -> Geometry | None:
        """The class means and their angles; None where the model gives no pooled features."""
        if self._sums is None:
            return None
        share = torch.where(counts > 0, counts, torch.nan).double()
        return class_geometry((self._sums / share[:, None]).numpy())
