"""The result of a measurement: arrays and names, nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tailgrad.checks import InputError, one_of
from tailgrad.interference import storage
from tailgrad.interference.branches import Branches
from tailgrad.interference.gates import Gates
from tailgrad.interference.geometry import Geometry
from tailgrad.interference.gram import Array, off_diagonal
from tailgrad.interference.summary import summarise


class Pair(NamedTuple):
    """Two classes with their conflict, its null and the excess.

    Example:
        >>> Pair("cat", "dog", -0.5, -0.3, -0.2).excess
        -0.2
    """

    first: str
    second: str
    conflict: float
    null: float
    excess: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Interference:
    """How the mean gradients of K classes relate, with the null they must be read against.

    ``conflict_ij = <g_i, g_j> / (|g_i| |g_j|)``, ``excess = conflict - null``. A row is NaN where a class had
    no example or its gradient is exactly zero.

    Args:
        class_names: K names.
        counts: examples measured [K].
        primary: the parameter group that ``conflict``, ``null`` and ``norms`` refer to.
        conflict: cosines between class gradients [K, K].
        null: the same cosines if features carried no class information [K, K].
        norms: gradient norms ``|g_c|`` [K].
        loss: mean loss of each class [K].
        groups: group name (``backbone``, ``head``, ``all`` where they exist, and ``primary``) -> conflict [K,
            K].
        group_null: group name -> null [K, K].
        layers: layer name, in order of definition -> conflict [K, K].
        layer_null: layer name -> null [K, K].
        layer_norms: layer name -> ``|g_c| / sqrt(number of parameters)`` [K].
        branches: shares of the head's branches, or None.
        gates: gates by branch and class, or None.
        geometry: angles between class means, or None.

    Source: arXiv 2606.05740 eq. 12 and 31-33 for the cosines; parameter groups, null and excess are ours.

    Example:
        >>> from tailgrad.interference import measure
        >>> import torch
        >>> data = [(torch.eye(4)[:, :3], torch.tensor([0, 1, 0, 1]))]
        >>> measure(torch.nn.Linear(3, 2), data, "all").conflict.shape
        (2, 2)
    """

    class_names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    primary: str
    conflict: Array
    null: Array
    norms: Array
    loss: Array
    groups: dict[str, Array]
    group_null: dict[str, Array]
    layers: dict[str, Array]
    layer_null: dict[str, Array]
    layer_norms: dict[str, Array]
    branches: Branches | None = None
    gates: Gates | None = None
    geometry: Geometry | None = None

    @property
    def excess(self) -> Array:
        """``conflict - null`` [K, K]: below 0, two classes oppose more than softmax and prior explain."""
        return self.conflict - self.null

    @property
    def layer_excess(self) -> dict[str, Array]:
        """``conflict - null`` [K, K] of every layer."""
        return {name: conflict - self.layer_null[name] for name, conflict in self.layers.items()}

    @property
    def mean(self) -> float:
        """Mean conflict over pairs of classes, NaN rows left out; never below -1/(K-1)."""
        return _mean(self.conflict)

    @property
    def std(self) -> float:
        """Population standard deviation of the conflict over pairs of classes."""
        values = off_diagonal(self.conflict)
        return float(values.std()) if len(values) else float("nan")

    @property
    def mean_null(self) -> float:
        """Mean null over pairs of classes."""
        return _mean(self.null)

    @property
    def mean_excess(self) -> float:
        """Mean excess over pairs of classes."""
        return _mean(self.excess)

    def rare_to_frequent(self) -> dict[str, float]:
        """Gradient norm of the rarest class over that of the most frequent one, by layer.

        Example:
            >>> from tailgrad.interference import measure
            >>> import torch
            >>> data = [(torch.eye(3), torch.tensor([0, 0, 1]))]
            >>> list(measure(torch.nn.Linear(3, 2), data, "all").rare_to_frequent())
            ['(model)']
        """
        seen = np.flatnonzero(self.counts)
        rare, frequent = (seen[pick(self.counts[seen])] for pick in (np.argmin, np.argmax))
        return {
            name: float(norms[rare] / norms[frequent]) if norms[frequent] > 0 else float("nan")
            for name, norms in self.layer_norms.items()
        }

    def worst_pairs(self, n: int = 6, by: str = "conflict") -> list[Pair]:
        """The ``n`` pairs with the smallest conflict, or with ``by="excess"`` the smallest excess.

        Pairs chosen on one model and compared with another are biased by the choice (regression to the mean);
        choose on both in turn.

        Args:
            n: number of pairs, at least 1; fewer come back if there are fewer.
            by: ``"conflict"`` or ``"excess"``.

        Raises:
            InputError: ``n`` below 1 or an unknown ``by``.

        Example:
            >>> from tailgrad.interference import measure
            >>> import torch
            >>> data = [(torch.eye(4), torch.arange(4))]
            >>> [len(measure(torch.nn.Linear(4, 4), data, "all").worst_pairs(n)) for n in (2, 100)]
            [2, 6]
        """
        if n < 1:
            raise InputError(f"n must be at least 1, got {n}; ask for one pair or more")
        key = self.conflict if one_of("by", by, ["conflict", "excess"]) == "conflict" else self.excess
        rows, columns = np.triu_indices(len(key), 1)
        values = key[rows, columns]
        order = [p for p in np.argsort(values, kind="stable") if not np.isnan(values[p])][:n]
        return [self._pair(rows[p], columns[p]) for p in order]

    def _pair(self, i: int, j: int) -> Pair:
        figures = (float(matrix[i, j]) for matrix in (self.conflict, self.null, self.excess))
        return Pair(self.class_names[i], self.class_names[j], *figures)

    def summary(self) -> str:
        """A few plain sentences; no cosine without its null and excess."""
        return summarise(self)

    def __repr__(self) -> str:
        return (
            f"Interference({len(self.class_names)} classes, {self.primary!r}, conflict {self.mean:.3f}, "
            f"null {self.mean_null:.3f}, excess {self.mean_excess:.3f})"
        )

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON-ready lists, numbers and names; NaN becomes None."""
        derived = {"excess": self.excess, "mean": self.mean, "std": self.std, "mean_excess": self.mean_excess}
        return dict(storage.plain(self) | storage.plain(derived))

    def save(self, path: str | Path) -> None:
        """Write ``path.npz`` (arrays) and ``path.json`` (names, and where each array belongs).

        Args:
            path: where to, with or without either ending; missing folders are made.

        Raises:
            InputError: the place cannot be written.
        """
        storage.save(self, path, summary=self.summary())

    @classmethod
    def load(cls, path: str | Path) -> "Interference":
        """Read what ``save`` wrote; nothing is unpickled.

        Raises:
            InputError: a file is missing, or holds something else.
        """
        result: Interference = storage.load(cls, path)
        return result


def _mean(matrix: Array) -> float:
    values = off_diagonal(matrix)
    return float(values.mean()) if len(values) else float("nan")
