"""The result of a measurement: arrays and names, nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from tailgrad.checks import InputError, one_of
from tailgrad.interference import storage
from tailgrad.interference.branches import Branches
from tailgrad.interference.contributions import LogitPull
from tailgrad.interference.control import Control
from tailgrad.interference.descent import Descent
from tailgrad.interference.effect import Effect
from tailgrad.interference.gates import Gates
from tailgrad.interference.geometry import Geometry
from tailgrad.interference.gram import Array, off_diagonal
from tailgrad.interference.noise import DirectionalNoise
from tailgrad.interference.significance import surest
from tailgrad.interference.summary import summarise

if TYPE_CHECKING:
    import plotly.graph_objects as go

ORDERS = ("certainty", "excess", "conflict")
KINDS = ("conflict", "null", "excess")
_T = 2.3533634348018264  # t quantile of a 90 % interval with 3 degrees of freedom: the null has 4 parts
NULL_ACCURACY = 0.05  # to which the null reproduces conflicts of networks that see no class information


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


@dataclass(frozen=True, eq=False, repr=False)
class Interference:
    """How the mean gradients of K classes relate, with the null they must be read against, and how surely.

    ``conflict_ij = <g_i, g_j> / (|g_i| |g_j|)``, ``excess = conflict - null``. A row is NaN where a class had
    no example or its gradient is exactly zero. What was not measured is None.

    Args:
        class_names: K names.
        counts: examples measured [K].
        primary: the parameter group that everything without a name of its own refers to.
        conflict: cosines between class gradients [K, K].
        null: the same cosines if features carried no class information [K, K].
        norms: gradient norms ``|g_c|`` [K].
        loss: mean loss of each class [K].
        groups: group name (``backbone``, ``head``, ``all`` where they exist, and ``primary``) -> conflict [K,
            K].
        group_null: the same for the null.
        layers: module path -> conflict [K, K] over the parameters it holds itself; empty above 256 classes.
        layer_null: the same for the null.
        layer_norms: module path -> ``|g_{c,l}| / sqrt(numel_l)`` [K].
        blocks: block (``layer1.0``) -> conflict [K, K].
        block_null: the same for the null.
        disattenuated: conflict without the noise of few examples, ``<g_i, g_j> / sqrt(U_i U_j)`` [K, K]; NaN
            where a gradient is too noisy to say.
        interval: its 90 % interval, low and high [2, K, K].
        reliability: share of ``|g_c|^2`` that is not noise [K].
        null_error: standard error of the null from parts of its pool [K, K].
        contributions: [c, j] is how much class j's part of the plain (weighted) step lowers class c's loss.
        descent: which classes descend under plain and normalised steps.
        effect: the given update against the class gradients.
        logit_pull: positive and negative logit gradients of each class.
        train_counts: the counts that ``contributions`` and ``descent`` weigh by [K].
        noise: directional noise in training batches.
        control: the class-balanced control.
        branches: gradient shares of a head's branches.
        gates: its attention gates.
        geometry: class means, angles, neural collapse.
        notes: what must be said about how this was measured.

    Source: ours, explained in docs/conflict.md; arXiv 2606.05740 eq. 12 and 31-33 for the plain conflict.

    Example:
        >>> from tailgrad.interference import measure
        >>> import torch
        >>> model = torch.nn.Linear(4, 4)
        >>> _ = model.requires_grad_(False).weight.zero_(), model.bias.zero_()
        >>> measure(model, [(torch.eye(4), torch.arange(4))], "all")
        Interference(4 classes, 'all', conflict -0.167, null -0.333, excess 0.167)
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
    blocks: dict[str, Array] = field(default_factory=dict)
    block_null: dict[str, Array] = field(default_factory=dict)
    disattenuated: Array | None = None
    interval: Array | None = None
    reliability: Array | None = None
    null_error: Array | None = None
    contributions: Array | None = None
    descent: Descent | None = None
    effect: Effect | None = None
    logit_pull: LogitPull | None = None
    train_counts: npt.NDArray[np.int64] | None = None
    noise: DirectionalNoise | None = None
    control: Control | None = None
    branches: Branches | None = None
    gates: Gates | None = None
    geometry: Geometry | None = None
    notes: tuple[str, ...] = ()

    @property
    def excess_interval(self) -> Array | None:
        """90 % interval of the noise-free excess [2, K, K], widened by the error of the null.

        Sampling error of the null is added in quadrature, 0.05 on either side for what its model of a network
        without class information leaves out. A pair interferes beyond noise where it excludes 0; NaN is too
        noisy to say.
        """
        if self.interval is None or self.disattenuated is None:
            return None
        centre = self.disattenuated
        wider = _T * (np.zeros_like(centre) if self.null_error is None else self.null_error)
        low, high = (np.hypot(end - centre, wider) for end in self.interval)
        return np.stack([centre - low - self.null - NULL_ACCURACY, centre + high - self.null + NULL_ACCURACY])

    @property
    def alignment(self) -> Array | None:
        """Cosine of the given update with each class gradient [K]: below 0 it climbs that class's loss."""
        return None if self.effect is None else self.effect.alignment

    @property
    def predicted_change(self) -> Array | None:
        """Change of each class's loss that the gradients predict for the update [K]."""
        return None if self.effect is None else self.effect.predicted_change

    @property
    def measured_change(self) -> Array | None:
        """Change of each class's loss after the update, on the same data [K]."""
        return None if self.effect is None else self.effect.measured_change

    def block(self, rows: Sequence[int], columns: Sequence[int], kind: str = "conflict") -> Array:
        """A part of a matrix [len(rows), len(columns)].

        Args:
            rows: class indices.
            columns: class indices.
            kind: ``"conflict"``, ``"null"`` or ``"excess"``.

        Raises:
            InputError: an unknown kind, or an index that is no class.

        Example:
            >>> from tailgrad.interference import measure
            >>> import torch
            >>> data = [(torch.eye(4), torch.arange(4))]
            >>> measure(torch.nn.Linear(4, 4), data, "all").block([0], [1, 2]).shape
            (1, 2)
        """
        matrix = {"conflict": self.conflict, "null": self.null, "excess": self.excess}[
            one_of("kind", kind, KINDS)
        ]
        number = len(self.class_names)
        return matrix[np.ix_(class_indices("rows", rows, number), class_indices("columns", columns, number))]

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

    def worst_pairs(self, n: int = 6, by: str = "certainty") -> list[Pair]:
        """The ``n`` pairs that are surest to oppose beyond their null, or those of the smallest figure.

        ``"certainty"`` goes by the middle of ``excess_interval`` over its half width: pairs that oppose
        beyond null and noise come first, those too noisy for an interval last. Without folds it is
        ``"excess"``.
        Pairs chosen on one model and compared with another are biased by the choice (regression to the mean);
        choose on both in turn.

        Args:
            n: number of pairs, at least 1; fewer come back if there are fewer.
            by: ``"certainty"``, ``"excess"`` or ``"conflict"``.

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
        if one_of("by", by, ORDERS) == "certainty":
            return [self._pair(i, j) for i, j in surest(self)[:n]]
        key = self.conflict if by == "conflict" else self.excess
        rows, columns = np.triu_indices(len(key), 1)
        values = key[rows, columns]
        order = [p for p in np.argsort(values, kind="stable") if not np.isnan(values[p])][:n]
        return [self._pair(rows[p], columns[p]) for p in order]

    def _pair(self, i: int, j: int) -> Pair:
        figures = (float(matrix[i, j]) for matrix in (self.conflict, self.null, self.excess))
        return Pair(self.class_names[i], self.class_names[j], *figures)

    def figure(self, which: str = "excess") -> "go.Figure":
        """A Plotly figure, classes with most training examples first.

        Args:
            which: ``"conflict"``, ``"null"``, ``"excess"`` (interval and reliability under the pointer),
                ``"disattenuated"``, ``"contributions"`` (who helps and who hurts whom), ``"layers"``,
                ``"reliability"``, ``"update"`` (alignment, predicted and measured change of each loss) or
                ``"pairs"``.

        Raises:
            InputError: an unknown kind, or one that was not measured; what can be drawn is named.

        Example:
            >>> from tailgrad.interference import measure
            >>> import torch
            >>> result = measure(torch.nn.Linear(4, 4), [(torch.eye(4), torch.arange(4))], "all")
            >>> result.figure("pairs").data[-1].name
            'excess'
        """
        from tailgrad.interference.figures import figure  # Plotly takes a moment to import

        return figure(self, which)

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
        """Read what ``save`` wrote, above 2,000 classes a ``TiledInterference``; nothing is unpickled.

        Raises:
            InputError: a file is missing, or holds something else.
        """
        from tailgrad.interference.tiles import TiledInterference  # which builds on this module

        if storage.kind_of(path) == "Tiles":
            return TiledInterference.load(path)
        result: Interference = storage.load(cls, path)
        return result


def class_indices(argument: str, indices: Sequence[int], num_classes: int) -> npt.NDArray[np.int64]:
    """Class indices [n] as an array.

    Raises:
        InputError: not a sequence of whole numbers in [0, K).

    Example:
        >>> class_indices("rows", [2, 0], 3)
        array([2, 0])
    """
    found = np.asarray(indices)
    whole = found.ndim == 1 and (found.dtype.kind in "iu" or not found.size)
    outside = found[(found < 0) | (found >= num_classes)] if whole else found
    if not whole or outside.size:
        got = outside.flat[0] if whole else repr(indices)
        raise InputError(
            f"{argument} must hold class indices in [0, {num_classes}), got {got}; "
            "count the classes of class_names from 0"
        )
    return found.astype(np.int64)


def _mean(matrix: Array) -> float:
    values = off_diagonal(matrix)
    return float(values.mean()) if len(values) else float("nan")
