"""Where the classes lie in feature space: means and angles, spread, neural collapse, and the common cone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tailgrad.interference.collapse import Block, Collapse, Integers, collapse
from tailgrad.interference.gram import Array
from tailgrad.interference.observer import Seen

_PAIRED = 2000  # classes up to which [K, K] angles are kept
_KEPT = 2**25  # numbers of single features kept for neural collapse: 128 MiB in float32
_WAITING = 4096  # examples summed at once: chunks of a few examples would cost more in calls than in sums


@dataclass(frozen=True, slots=True)
class Geometry:
    """Class-mean features, their angles in degrees, and how the features lie around them.

    Uncentred angles are dominated by the common mean of mostly positive features; the centred ones subtract
    ``mu_G``, the mean of the class means, in which every class counts the same. Under neural collapse they
    approach ``arccos(-1/(K-1))``. Whatever was not measured is None.

    Args:
        means: [K, D], NaN for a class without an example.
        angles: [K, K], uncentred; None above 2,000 classes.
        centred_angles: [K, K]; None above 2,000 classes.
        scatter: ``tr Sigma_c = mean_{i: y_i=c} |h_i - mu_c|^2`` [K]; NaN below two examples.
        fisher: ``|mu_c - mu_G|^2 / tr Sigma_c`` [K], the Fisher ratio in its trace form.
        cone: mean cosine of the class's features with ``mu_G`` [K]; 1 where all features point one way.
        resultant: length of the mean of ``h_i / |h_i|`` [K]; 1 where the class is a single direction.
        collapse: NC1 to NC4.

    Source: arXiv 2606.05740 eq. 26-27 (uncentred angles); the rest is as defined here.

    Example:
        >>> class_geometry(np.array([[1.0, 0, 0], [1, 1, 0]])).angles.round(6)
        array([[ 0., 45.],
               [45.,  0.]])
    """

    means: Array
    angles: Array | None
    centred_angles: Array | None
    scatter: Array | None = None
    fisher: Array | None = None
    cone: Array | None = None
    resultant: Array | None = None
    collapse: Collapse | None = None

    def fisher_pairs(self) -> Array | None:
        """``|mu_i - mu_j|^2 / (tr Sigma_i + tr Sigma_j)`` [K, K]: the distance of two classes in their size.

        Example:
            >>> means = np.array([[0.0, 0], [3, 4]])
            >>> Geometry(means, None, None, scatter=np.array([2.0, 3.0])).fisher_pairs()
            array([[0., 5.],
                   [5., 0.]])
        """
        if self.scatter is None:
            return None
        squares = (self.means**2).sum(1)
        distance = np.maximum(squares[:, None] + squares - 2 * self.means @ self.means.T, 0)
        np.fill_diagonal(distance, np.where(np.isnan(squares), np.nan, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            result: Array = distance / (self.scatter[:, None] + self.scatter)
        return result


def class_geometry(means: Array) -> Geometry:
    """Angles between class means [K, D].

    Example:
        >>> class_geometry(np.array([[3.0, 1], [3, -1]])).centred_angles[0, 1].round(6).item()
        180.0
    """
    if len(means) > _PAIRED:
        return Geometry(means, None, None)
    return Geometry(means, angles(means), angles(means - _middle(means)))


def _middle(means: Array) -> Array:
    middle: Array = means[~np.isnan(means).any(1)].mean(0)
    return middle


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
    """An observer of the pooled features: sums by class over all examples, and as many features as fit.

    Example:
        >>> means = FeatureMeans(num_classes=2)
        >>> means(Seen(1, torch.zeros(2), torch.ones(2, 3)))
        >>> means.result(torch.tensor([0, 2])).means[1]
        array([1., 1., 1.])
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._waiting: list[tuple[int, Tensor, Tensor | None]] = []
        self._held = 0
        self._sums: _Sums | None = None
        self._blocks: list[Block] = []
        self._taken = [0] * num_classes

    def __call__(self, seen: Seen) -> None:
        """Take up the features of one class."""
        if seen.features is None:
            return
        wide = torch.promote_types(seen.features.dtype, torch.float32)
        # a view would keep the whole feature map alive
        features = seen.features.detach().to(wide, copy=True)
        guess = None if seen.logits is None else seen.logits.argmax(1)
        self._waiting.append((seen.label, features, guess))
        self._held += len(features)
        if self._held >= _WAITING:
            self._add()

    def _add(self) -> None:
        if not self._waiting:
            return
        of, parts, guesses = zip(*self._waiting, strict=True)
        sizes = torch.tensor([len(part) for part in parts])
        labels, features = torch.repeat_interleave(torch.tensor(of), sizes), torch.cat(parts)
        self._waiting, self._held = [], 0
        if self._sums is None:
            self._sums = _Sums(self._num_classes, features)
        self._sums.add(labels, features)
        chosen = self._chosen(of, sizes.tolist(), features.shape[1])
        guess = None if any(g is None for g in guesses) else torch.cat(guesses).cpu()[chosen].numpy()
        self._blocks.append(Block(features.cpu()[chosen].numpy(), labels[chosen].numpy(), guess))

    def _chosen(self, labels: tuple[int, ...], sizes: list[int], width: int) -> Tensor:
        """Which rows to keep: of every class the first few, the same number where memory is short."""
        room = max(1, _KEPT // (self._num_classes * width))
        rows, start = [], 0
        for label, size in zip(labels, sizes, strict=True):
            taken = min(size, room - self._taken[label])
            self._taken[label] += taken
            rows.append(torch.arange(start, start + taken))
            start += size
        return torch.cat(rows)

    def result(self, counts: Tensor | Integers, weight: Array | None = None) -> Geometry | None:
        """The geometry; None where the model gives no pooled features.

        Args:
            counts: examples of each class [K].
            weight: classifier weights [K, D], for NC3 (see ``classifier_weight``).
        """
        self._add()
        if self._sums is None:
            return None
        seen = np.asarray(counts)
        means, scatter, units = self._sums.means(seen)
        middle = _middle(means)
        with np.errstate(divide="ignore", invalid="ignore"):
            direction = middle / np.linalg.norm(middle)
            fisher = ((means - middle) ** 2).sum(1) / scatter
        plain = class_geometry(means)
        return Geometry(
            means,
            plain.angles,
            plain.centred_angles,
            scatter=scatter,
            fisher=fisher,
            cone=units @ direction,
            resultant=np.linalg.norm(units, axis=1),
            collapse=collapse(means, self._blocks, weight=weight, counts=seen),
        )


class _Sums:
    """Sums over the examples of each class: features, their squared lengths, their directions."""

    def __init__(self, num_classes: int, like: Tensor) -> None:
        self._home = "cpu" if like.device.type == "mps" else like.device  # no float64 on Apple's GPUs
        self._features = torch.zeros(num_classes, like.shape[1], dtype=torch.float64, device=self._home)
        self._units = torch.zeros_like(self._features)
        self._squares = self._features.new_zeros(num_classes)

    def add(self, labels: Tensor, features: Tensor) -> None:
        labels, rows = labels.to(self._home), features.to(self._home).double()
        squares = (rows**2).sum(1)
        self._features.index_add_(0, labels, rows)
        self._squares.index_add_(0, labels, squares)
        lengths = squares.sqrt()[:, None]
        self._units.index_add_(0, labels, rows / torch.where(lengths > 0, lengths, 1))

    def means(self, counts: Integers) -> tuple[Array, Array, Array]:
        """Mean features [K, D], mean squared distance from them [K], mean directions [K, D]."""
        share = np.where(counts > 0, counts, np.nan)
        features, units = ((s.cpu().numpy() / share[:, None]) for s in (self._features, self._units))
        scatter = np.maximum(self._squares.cpu().numpy() / share - (features**2).sum(1), 0)
        return features, np.where(counts > 1, scatter, np.nan), units
