"""Which labels pull the parameters in opposing directions, and which side of a label pulls more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import stdtrit
from torch import nn

from tailgrad.checks import InputError, in_range
from tailgrad.interference.gram import Array, cosines, off_diagonal
from tailgrad.interference.groups import Selection
from tailgrad.interference.label_gradients import LabelGradients, Pairs, label_gradients
from tailgrad.interference.storage import load, save

_POSITIVE, _NEGATIVE, _NULL = range(3)


@dataclass(frozen=True, eq=False)
class LabelConflict:
    """Label by label conflict with its null, and what positives and negatives of each label contribute.

    Intervals hold 90 %. NaN stands where noise is all there is.

    Args:
        label_names: L names.
        images: measured.
        positives: images that have each label [L].
        parameters: name of the group that was measured.
        conflict: cosines of the label gradients as they are [L, L].
        disattenuated: freed of noise [L, L].
        null: the same if each label's targets were dealt out to the images anew [L, L].
        excess: ``disattenuated - null`` [L, L].
        low: lower end of the excess [L, L].
        high: upper end of the excess [L, L].
        norms: of the label gradients, freed of noise [L].
        positive_share: of a label's gradient from positives, ``|g+| / (|g+| + |g-|)``, freed of noise [L].
        share_low: lower end [L].
        share_high: upper end [L].
        opposition: cosine between a label's positive and negative side, freed of noise [L].
        logit_positive: mean absolute logit gradient from positives, over all images [L].
        logit_negative: from negatives [L].
        notes: what a reader should know.

    Example: see ``measure_labels``.
    """

    label_names: tuple[str, ...]
    images: int
    positives: Array
    parameters: str
    conflict: Array
    disattenuated: Array
    null: Array
    excess: Array
    low: Array
    high: Array
    norms: Array
    positive_share: Array
    share_low: Array
    share_high: Array
    opposition: Array
    logit_positive: Array
    logit_negative: Array
    notes: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """Mean cosine over the pairs of labels, as it is."""
        return _mean(self.conflict)

    @property
    def mean_null(self) -> float:
        """Mean null over the pairs that can be told from noise; NaN without any."""
        return _mean(self.null)

    @property
    def mean_excess(self) -> float:
        """Mean excess over the pairs that can be told from noise; NaN without any."""
        return _mean(self.excess)

    def opposed(self) -> list[tuple[str, str, float]]:
        """Pairs of labels whose excess is below 0 with its whole interval, most opposed first."""
        pairs = [
            (self.label_names[i], self.label_names[j], float(self.excess[i, j]))
            for i, j in zip(*np.triu_indices(len(self.label_names), 1), strict=True)
            if self.high[i, j] < 0
        ]
        return sorted(pairs, key=lambda pair: pair[2])

    def save(self, path: str | Path) -> None:
        """Write ``path.npz`` and ``path.json``."""
        save(self, path, f"label conflict of {len(self.label_names)} labels, {self.images} images")

    @classmethod
    def load(cls, path: str | Path) -> "LabelConflict":
        """Inverse of `save`.

        Raises:
            InputError: the files are missing, or of something else.
        """
        found: LabelConflict = load(cls, path)
        return found


def _mean(matrix: Array) -> float:
    known = off_diagonal(matrix)
    return float(known.mean()) if len(known) else float("nan")


def measure_labels(
    model: nn.Module,
    data: Pairs,
    parameters: Selection = "backbone",
    *,
    folds: int = 8,
    max_images: int | None = None,
    label_names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LabelConflict:
    """Take every label as a task, and compare their gradients.

    ``g_k`` is the gradient of label k's mean binary cross-entropy over all images (``label_gradients``).
    Cosines shrink with noise, and labels of the same images share it: with the images in folds,
    ``U_ij = (<g_i, g_j> - sum_f <g_i^f, g_j^f>) / (1 - sum_f w_f^2)`` holds products across folds alone and
    is free of both; ``C*_ij = U_ij / sqrt(U_ii U_jj)``. The null is C* of the gradients with each label's
    share of positives in place of its targets: what is left is how predictions and features are alike. Only
    the excess over it says that what is to be learnt of two labels is opposed. Intervals leave out a fold at
    a time, for both together.

    Args:
        model: any module that returns logits [N, L].
        data: batches of (inputs, targets [n, L] of zeros and ones), in random order.
        parameters: ``"backbone"``, ``"head"``, ``"all"``, a glob over parameter names or a predicate.
        folds: parts of the images; 0 stands for 8, else at least 3 for an interval.
        max_images: read no more than these, or None.
        label_names: L names; numbers by default.
        progress: called with (images done, images wanted).

    Raises:
        InputError: as ``label_gradients``, or as many names as there are no labels.

    Source: ours, ``measure`` with labels for classes; positive and negative gradients of a label
    are those of EQL v2 (Tan et al. 2021), there at the logits.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> x = torch.randn(80, 4)
        >>> found = measure_labels(model, [(x, (x[:, :3] > 0).float())])
        >>> found.excess.shape, found.positive_share.shape
        ((3, 3), (3,))
    """
    in_range("folds", folds, 0)
    if folds in (1, 2):
        raise InputError(f"folds must be 0 or at least 3, got {folds}; 8 is usual")
    told = None if progress is None else (lambda _part, done, _of: progress(done, max_images or done))
    found = label_gradients(
        model,
        data,
        parameters,
        folds=folds or 8,
        max_images=max_images,
        **({} if told is None else {"progress": told}),
    )
    names = tuple(map(str, label_names if label_names is not None else range(len(found.positives))))
    if len(names) != len(found.positives):
        raise InputError(
            f"label_names must hold one name for each of {len(found.positives)} labels, got {len(names)}; "
            "give those that the model was trained with, in order"
        )
    return _compared(found, names)


def _compared(found: LabelGradients, names: tuple[str, ...]) -> LabelConflict:
    products, everyone = found.products, np.ones(len(found.shares), bool)
    whole = products[:2, :, :, :2].sum((0, 2, 3, 5))
    left = [_estimates(found, everyone & (np.arange(len(everyone)) != f)) for f in range(len(everyone))]
    now = _estimates(found, everyone)
    low, high = _ends(now.excess, [one.excess for one in left])
    share_low, share_high = _ends(now.share, [one.share for one in left])
    return LabelConflict(
        names,
        found.images,
        found.positives,
        found.parameters,
        cosines(whole),
        now.conflict,
        now.null,
        now.excess,
        low,
        high,
        now.norms,
        now.share,
        np.clip(share_low, 0, 1),
        np.clip(share_high, 0, 1),
        now.opposition,
        found.logits[0],
        found.logits[1],
        _notes(found),
    )


def _notes(found: LabelGradients) -> tuple[str, ...]:
    sketched = "Gradients were sketched to save memory, which adds a little noise to every figure."
    bare = int((found.positives == 0).sum())
    return (
        *((sketched,) if found.is_sketched else ()),
        *((f"{bare} labels have no positive among the images measured.",) if bare else ()),
    )


@dataclass(frozen=True, slots=True)
class _Estimates:
    conflict: Array
    null: Array
    excess: Array
    norms: Array
    share: Array
    opposition: Array


def _estimates(found: LabelGradients, folds: np.ndarray) -> _Estimates:
    """What the images of some folds say."""
    across = _across(found.products[:, :, folds][:, :, :, :, :, folds], found.shares[folds])
    both = across[:2, :, :2].sum((0, 2))
    conflict, null = _scaled(both), _scaled(across[_NULL, :, _NULL])
    own = np.arange(across.shape[1])
    norms = {side: _root(across[side, own, side, own]) for side in (_POSITIVE, _NEGATIVE)}
    crossed = across[_POSITIVE, own, _NEGATIVE, own]
    return _Estimates(
        conflict,
        null,
        conflict - null,
        _root(np.diagonal(both)),
        norms[_POSITIVE] / (norms[_POSITIVE] + norms[_NEGATIVE]),
        crossed / (norms[_POSITIVE] * norms[_NEGATIVE]),
    )


def _across(products: Array, shares: Array) -> Array:
    """Inner products of mean gradients from different folds alone, [3, L, 3, L]."""
    weights = shares / shares.sum()
    same = np.einsum("aifbjf->aibj", products)
    found: Array = (products.sum((2, 5)) - same) / (1 - (weights**2).sum()) / shares.sum() ** 2
    return found


def _root(squares: Array) -> Array:
    return np.sqrt(np.where(squares > 0, squares, np.nan))


def _scaled(across: Array) -> Array:
    norms = _root(np.diagonal(across))
    found: Array = (across + across.T) / 2 / np.outer(norms, norms)
    return found


def _ends(value: Array, left: Sequence[Array], level: float = 0.9) -> tuple[Array, Array]:
    """Ends of the jackknife interval; NaN where a figure is not known without one of the folds."""
    m = len(left)
    spread = np.stack(left) - np.mean(left, axis=0)
    error = np.sqrt((m - 1) / m * (spread**2).sum(0))
    half = float(stdtrit(m - 1, (1 + level) / 2)) * error
    return value - half, value + half
