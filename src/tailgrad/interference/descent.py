"""Which classes a step lets descend, and where early training drops one of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tailgrad.checks import InputError, in_range
from tailgrad.interference.gram import Array

_ROUNDING = 1e-12  # of the sum of absolute terms: below it a sum is 0
_BLAMED = 0.1  # of all that hurts a class: below it another class is not named
_NAMED = 3
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """Which classes descend to first order, under normalised and under plain gradient steps.

    A step along ``sum_j g_j / |g_j|`` lowers class c's loss iff ``sum_j C_cj > 0``; one along
    ``sum_j pi_j g_j`` iff ``sum_j pi_j |g_j| C_cj > 0``. Two classes always descend under normalised steps
    unless they are exactly opposed; of three, one need not.

    Args:
        row_sums: ``sum_j C_cj`` [K].
        normalised: whether class c descends under normalised steps [K]; False where that is not known.
        plain: ``sum_j pi_j |g_j| C_cj`` [K].
        descends: whether class c descends under plain steps [K]; False where that is not known.

    Source: ours; per-class normalised steps: Francazi et al., arXiv 2207.00391.

    Example:
        >>> descent(np.array([[1.0, -0.5], [-0.5, 1.0]]), np.array([1.0, 1.0]), np.array([90, 10])).plain
        array([ 0.85, -0.35])
    """

    row_sums: Array
    normalised: Flags
    plain: Array
    descends: Flags

    def words(self, class_names: Sequence[str]) -> str:
        """One sentence for each kind of step.

        Example:
            >>> result = descent(np.array([[1.0, -0.5], [-0.5, 1.0]]), np.ones(2), np.array([90, 10]))
            >>> print(result.words(["cat", "dog"]))
            A small plain gradient step does not lower the loss of dog.
            A small step along normalised class gradients lowers the loss of every class.
        """
        kinds = {
            "plain gradient step": (self.plain, self.descends),
            "step along normalised class gradients": (self.row_sums, self.normalised),
        }
        return "\n".join(_sentence(kind, *found, class_names) for kind, found in kinds.items())


def descent(conflict: Array, norms: Array, counts: npt.NDArray[np.int64]) -> Descent:
    """Read descent under normalised and plain steps off the cosines.

    Args:
        conflict: cosines [K, K]; a NaN row (a class without a gradient) takes no part.
        norms: gradient norms [K].
        counts: training examples of each class [K], whose shares are pi.

    Raises:
        InputError: shapes that do not fit, or no examples.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> opposed = np.array([[1.0, -1.0], [-1.0, 1.0]])
        >>> descent(opposed, np.ones(2), np.array([1, 1])).normalised
        array([False, False])
    """
    size = len(counts)
    if conflict.shape != (size, size) or norms.shape != (size,):
        raise InputError(
            f"conflict and norms must be [K, K] and [K] for the {size} classes counted, got "
            f"{list(conflict.shape)} and {list(norms.shape)}; take all three from one measurement"
        )
    total = in_range("the sum of counts", int(np.sum(counts)), 1)
    row_sums, normalised = _sums(conflict)
    plain, descends = _sums(conflict * np.nan_to_num(norms) * np.asarray(counts) / total)
    return Descent(row_sums, normalised, plain, descends)


@dataclass(frozen=True, slots=True)
class InitialDrop:
    """A stretch of early training in which updates pushed the loss of a class up, and it rose.

    Args:
        class_name: the class.
        first: first recorded step of the stretch.
        last: last one.
        loss_before: its loss at ``first``.
        loss_after: its loss once the stretch was over.
        culprits: up to three classes whose gradients did most of it, the worst first; empty if unknown.

    Source: ours; arXiv 2207.00391 names the effect.

    Example:
        >>> print(words([InitialDrop("dog", 0, 40, 0.7, 1.9, ("cat",))]))
        dog: loss rose from 0.700 to 1.900 in steps 0 to 40, against its own gradient; driven by cat.
    """

    class_name: str
    first: int
    last: int
    loss_before: float
    loss_after: float
    culprits: tuple[str, ...] = ()


def initial_drop(
    products: Array,
    losses: Array,
    class_names: Sequence[str],
    *,
    steps: Sequence[int] | None = None,
    contributions: Array | None = None,
    until: int | None = None,
    shortest: int = 3,
) -> list[InitialDrop]:
    """Find where early updates opposed a class (``<g_c, u> < 0``) while its loss rose.

    Per class, records without it are skipped; a stretch is a run of records with a negative product, and it
    counts if the loss at the first record after it (or its own last, where there is none) is above the loss
    at its first. Figures from single batches are noisy: this is an alarm, not a test.

    Args:
        products: ``<g_c, u>`` (or the alignment) at each of T records [T, K], NaN where the class is absent.
        losses: loss of each class before the update of that record [T, K], NaN where absent.
        class_names: K names.
        steps: step number of each record, increasing [T]; by default 0, 1, 2, ...
        contributions: [T, K, K] of `contributions`, to name who caused it.
        until: last step that counts as early; by default all are looked at.
        shortest: records a stretch must have, at least 1.

    Returns:
        The stretches in order of their first step.

    Raises:
        InputError: shapes that do not fit, or ``shortest`` below 1.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> products = np.array([[1.0, -1.0], [1.0, -2.0], [1.0, 1.0]])
        >>> losses = np.array([[0.9, 0.7], [0.5, 0.8], [0.3, 1.0]])
        >>> [(d.class_name, d.first, d.last) for d in initial_drop(products, losses, "ab", shortest=2)]
        [('b', 0, 1)]
    """
    in_range("shortest", shortest, 1)
    at = np.arange(len(products)) if steps is None else np.asarray(steps)
    _check_history(products, losses, at, class_names, contributions)
    found = []
    for c, name in enumerate(class_names):
        present = np.flatnonzero(~np.isnan(products[:, c]) & ~np.isnan(losses[:, c]))
        for run in _runs(present[products[present, c] < 0], present):
            before, after = losses[run[0], c], losses[_end(run, present), c]
            early = until is None or at[run[0]] <= until
            if len(run) >= shortest and early and after > before:
                blamed = () if contributions is None else _culprits(contributions[run, c], c, class_names)
                stretch = int(at[run[0]]), int(at[run[-1]])
                found.append(InitialDrop(name, *stretch, float(before), float(after), blamed))
    return sorted(found, key=lambda drop: drop.first)


def words(drops: Sequence[InitialDrop]) -> str:
    """One line a stretch, or that there was none.

    Example:
        >>> words([])
        'No class was driven uphill early in training.'
    """
    if not drops:
        return "No class was driven uphill early in training."
    return "\n".join(map(_line, drops))


def _line(drop: InitialDrop) -> str:
    by = f"; driven by {', '.join(drop.culprits)}" if drop.culprits else ""
    return (
        f"{drop.class_name}: loss rose from {drop.loss_before:.3f} to {drop.loss_after:.3f} in steps "
        f"{drop.first} to {drop.last}, against its own gradient{by}."
    )


def _sums(terms: Array) -> tuple[Array, Flags]:
    known = ~np.isnan(np.diagonal(terms))
    sums = np.where(known, np.nansum(terms, 1), np.nan)
    return sums, known & (sums > _ROUNDING * np.nansum(np.abs(terms), 1))


def _sentence(kind: str, values: Array, good: Flags, class_names: Sequence[str]) -> str:
    hurt = [
        name for name, value, ok in zip(class_names, values, good, strict=True) if value == value and not ok
    ]
    what = f"does not lower the loss of {', '.join(hurt)}" if hurt else "lowers the loss of every class"
    return f"A small {kind} {what}."


def _runs(chosen: npt.NDArray[np.intp], present: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    """Runs of ``chosen`` that are neighbours within ``present``."""
    if len(chosen):
        places = np.searchsorted(present, chosen)
        yield from np.split(chosen, np.flatnonzero(np.diff(places) > 1) + 1)


def _end(run: npt.NDArray[np.intp], present: npt.NDArray[np.intp]) -> int:
    # the record after a run shows what its last update did
    return int(present[min(np.searchsorted(present, run[-1]) + 1, len(present) - 1)])


def _culprits(rows: Array, c: int, class_names: Sequence[str]) -> tuple[str, ...]:
    harm = np.maximum(-np.nansum(rows, 0), 0)
    harm[c] = 0
    order = [j for j in np.argsort(-harm, kind="stable") if harm[j] > _BLAMED * harm.sum()]
    return tuple(class_names[j] for j in order[:_NAMED])


def _check_history(
    products: Array,
    losses: Array,
    steps: npt.NDArray[np.int64],
    class_names: Sequence[str],
    contributions: Array | None,
) -> None:
    size = (len(steps), len(class_names))
    if products.shape != size or losses.shape != size:
        raise InputError(
            f"products and losses must be [T, K] = {list(size)}, got {list(products.shape)} and "
            f"{list(losses.shape)}; record one row a step"
        )
    if contributions is not None and contributions.shape != (*size, size[1]):
        raise InputError(
            f"contributions must be [T, K, K] = {[*size, size[1]]}, got {list(contributions.shape)}; "
            "record one table a step"
        )
