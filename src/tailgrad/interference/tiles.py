"""Interference above 2,000 classes: no [K, K] array is kept; blocks are computed when they are asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch

from tailgrad.checks import InputError, in_range, one_of
from tailgrad.interference import storage
from tailgrad.interference.gram import Array
from tailgrad.interference.result import KINDS, ORDERS, Interference, Pair, class_indices
from tailgrad.interference.summary import summarise_many

if TYPE_CHECKING:
    import plotly.graph_objects as go

Rows = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
WORST = 1000
_TILE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """What is kept of a measurement of many classes: one vector a class in place of [K, K] arrays.

    Args:
        class_names: K names.
        counts: examples measured [K].
        primary: the parameter group.
        norms: gradient norms [K].
        loss: mean loss of each class [K].
        units: unit vectors whose inner products are the conflict [K, s]; NaN rows where there is no gradient.
        null_units: the same for the null [K, d].
        row_sums: ``sum_j C_cj`` [K].
        plain: ``sum_j pi_j |g_j| C_cj`` [K], which is above 0 iff class c descends under a plain step.
        pairs: the 1,000 pairs of smallest conflict, [P, 2].
        mean: mean conflict over pairs.
        std: standard deviation over pairs.
        mean_null: mean null over pairs.
        reliability: share of ``|g_c|^2`` that is not noise [K], or None without folds.
        notes: what must be said about how this was measured.

    Example:
        >>> import numpy as np
        >>> units = np.eye(3, dtype=np.float32)
        >>> one = np.ones(3)
        >>> tiles_of(("a", "b", "c"), one.astype(int), "all", one, one, units, units).mean
        0.0
    """

    class_names: tuple[str, ...]
    counts: Integers
    primary: str
    norms: Array
    loss: Array
    units: Rows
    null_units: Rows
    row_sums: Array
    plain: Array
    pairs: Integers
    mean: float
    std: float
    mean_null: float
    reliability: Array | None = None
    notes: tuple[str, ...] = ()


def unit_rows(rows: Array | Rows) -> Rows:
    """Rows [K, s] divided by their lengths; NaN where a row is zero.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [nan, nan]], dtype=float32)
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, np.nan), dtype=np.float32)


def tiles_of(
    class_names: tuple[str, ...],
    counts: Integers,
    primary: str,
    norms: Array,
    loss: Array,
    units: Rows,
    null_units: Rows,
) -> Tiles:
    """Row sums, mean, spread and the worst pairs, tile by tile.

    Args:
        class_names: K names.
        counts: [K].
        primary: the parameter group.
        norms: [K].
        loss: [K].
        units: [K, s], NaN where there is no gradient.
        null_units: [K, d].

    Example: see ``Tiles``.
    """
    good = np.asarray(~np.isnan(units).any(1))
    known = np.where(good[:, None], units, 0).astype(np.float64)
    number = int(good.sum())
    sums = known @ known.sum(0)
    weights = counts / max(1, counts.sum()) * np.nan_to_num(norms)
    plain = known @ (known * weights[:, None]).sum(0)
    pairs, squares = _scan(units, good)
    count = max(1, number * (number - 1))
    mean = float((sums[good].sum() - number) / count)
    null = null_units[~np.isnan(null_units).any(1)].astype(np.float64)
    null_count = max(1, len(null) * (len(null) - 1))
    return Tiles(
        class_names,
        counts,
        primary,
        norms,
        loss,
        units,
        null_units,
        np.where(good, sums, np.nan),
        np.where(good, plain, np.nan),
        pairs,
        mean,
        float(np.sqrt(max(0.0, squares / count - mean**2))),
        float(((null.sum(0) ** 2).sum() - len(null)) / null_count),
    )


def _scan(units: Rows, good: npt.NDArray[np.bool_]) -> tuple[Integers, float]:
    """The worst pairs, and the sum of squared cosines over ordered pairs."""
    rows = torch.from_numpy(np.where(good[:, None], units, 0))
    usable = torch.from_numpy(good)
    best, places, squares = torch.empty(0), torch.empty(0, 2, dtype=torch.int64), 0.0
    for i, j in _tiles(len(rows)):
        block = rows[i : i + _TILE] @ rows[j : j + _TILE].T
        a = torch.arange(i, min(len(rows), i + _TILE))[:, None]
        b = torch.arange(j, min(len(rows), j + _TILE))[None]
        real = (a < b) & usable[a] & usable[b]
        squares += 2 * float(block[real].double().square().sum())
        values = torch.where(real, block, torch.inf).flatten()
        least, at = values.topk(min(WORST, len(values)), largest=False)
        where = torch.stack([i + at // block.shape[1], j + at % block.shape[1]], 1)
        best, places = torch.cat([best, least]), torch.cat([places, where])
        best, order = best.topk(min(WORST, len(best)), largest=False)
        places = places[order]
    return places[best.isfinite()].numpy(), squares


def _tiles(size: int) -> Iterator[tuple[int, int]]:
    """Corners of the tiles on and above the diagonal."""
    for i in range(0, size, _TILE):
        for j in range(i, size, _TILE):
            yield i, j


class TiledInterference(Interference):
    """An ``Interference`` of more than 2,000 classes, which serves parts of its matrices.

    Args:
        tiles: what was kept.

    Raises:
        InputError: from ``conflict``, ``null``, ``excess`` and what is drawn from them: ask ``block``.

    Example:
        >>> units = np.eye(3, dtype=np.float32)
        >>> one = np.ones(3)
        >>> tiles = tiles_of(("a", "b", "c"), one.astype(int), "all", one, one, units, units)
        >>> result = TiledInterference(tiles)
        >>> result.block([0], [0, 1])
        array([[1., 0.]])
        >>> result.conflict
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: conflict must stay within 2000 classes, got 3 kept as tiles; ask for
        .block(rows, cols)
    """

    def __init__(self, tiles: Tiles) -> None:
        object.__setattr__(self, "tiles", tiles)
        for name in ("class_names", "counts", "primary", "norms", "loss", "reliability", "notes"):
            object.__setattr__(self, name, getattr(tiles, name))

    tiles: Tiles

    def _refuse(self, name: str) -> NoReturn:
        raise InputError(
            f"{name} must stay within 2000 classes, got {len(self.class_names)} kept as tiles; ask for "
            ".block(rows, cols)"
        )

    def __getattr__(self, name: str) -> Any:
        if name in Interference.__dataclass_fields__:
            self._refuse(name)
        raise AttributeError(name)

    @property
    def excess(self) -> Array:
        """Not kept."""
        self._refuse("excess")

    @property
    def excess_interval(self) -> Array | None:
        """Not kept."""
        self._refuse("excess_interval")

    @property
    def row_sums(self) -> Array:
        """``sum_j C_cj`` [K]: above 0, class c descends under per-class normalised steps."""
        return self.tiles.row_sums

    @property
    def mean(self) -> float:
        """Mean conflict over pairs of classes."""
        return self.tiles.mean

    @property
    def std(self) -> float:
        """Population standard deviation of the conflict over pairs of classes."""
        return self.tiles.std

    @property
    def mean_null(self) -> float:
        """Mean null over pairs of classes."""
        return self.tiles.mean_null

    @property
    def mean_excess(self) -> float:
        """Mean excess over pairs of classes."""
        return self.tiles.mean - self.tiles.mean_null

    def block(self, rows: Sequence[int], columns: Sequence[int], kind: str = "conflict") -> Array:
        """A part of a matrix [len(rows), len(columns)], computed now.

        Args:
            rows: class indices.
            columns: class indices.
            kind: ``"conflict"``, ``"null"`` or ``"excess"``.

        Raises:
            InputError: an unknown kind, or an index that is no class.
        """
        one_of("kind", kind, KINDS)
        number = len(self.class_names)
        first, second = class_indices("rows", rows, number), class_indices("columns", columns, number)
        if kind == "excess":
            return self.block(rows, columns) - self.block(rows, columns, "null")
        units = self.tiles.units if kind == "conflict" else self.tiles.null_units
        product = units[first].astype(np.float64) @ units[second].astype(np.float64).T
        same = first[:, None] == second
        return np.where(same & ~np.isnan(product), 1.0, np.clip(product, -1, 1))

    def worst_pairs(self, n: int = 6, by: str = "certainty") -> list[Pair]:
        """The ``n`` of the 1,000 pairs of smallest conflict with the smallest excess, or ``"conflict"``.

        No interval is kept, so that ``"certainty"`` is ``"excess"``.
        """
        in_range("n", n, 1)
        by = "conflict" if one_of("by", by, ORDERS) == "conflict" else "excess"
        pairs = [self._pair(i, j) for i, j in self.tiles.pairs]
        return sorted(pairs, key=lambda pair: getattr(pair, by))[:n]

    def _pair(self, i: int, j: int) -> Pair:
        conflict, null = (float(self.block([i], [j], kind)[0, 0]) for kind in ("conflict", "null"))
        return Pair(self.class_names[i], self.class_names[j], conflict, null, conflict - null)

    def figure(self, which: str = "pairs") -> "go.Figure":
        """A Plotly figure: the worst pairs, or ``"reliability"`` where it was measured."""
        return super().figure(which)

    def summary(self) -> str:
        """A few plain sentences; no cosine without its null and excess."""
        return summarise_many(self)

    def to_dict(self) -> dict[str, object]:
        """Everything but the vectors, as JSON-ready lists, numbers and names."""
        empty = np.zeros((0, 0), dtype=np.float32)
        return dict(storage.plain(replace(self.tiles, units=empty, null_units=empty)))

    def save(self, path: str | Path) -> None:
        """Write ``path.npz`` and ``path.json``."""
        storage.save(self.tiles, path, summary=self.summary())

    @classmethod
    def load(cls, path: str | Path) -> "TiledInterference":
        """Read what ``save`` wrote.

        Raises:
            InputError: a file is missing, or holds something else, such as a result with whole matrices.
        """
        return cls(storage.load(Tiles, path))
