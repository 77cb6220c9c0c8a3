"""Did the conflict between classes change, and is the change more than noise?"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
from scipy import special

from tailgrad.checks import InputError, in_range
from tailgrad.interference.comparison import AFTER, BEFORE, COUNTS, Change, Comparison
from tailgrad.interference.gram import Array
from tailgrad.interference.result import Interference

_NAN = float("nan")


def compare(before: Interference, after: Interference, *, pairs: int = 6) -> Comparison:
    """The change of conflict from one measurement to another over the same classes.

    ``change_ij = C_ij(after) - C_ij(before)``, of the conflict without sampling noise where both have it. Its
    90 % interval adds the half-widths of the two intervals in quadrature. That takes the measurements as
    independent, which makes it too wide where both used the same data. The mean over pairs has a jackknife
    interval that leaves out one class, with all its pairs, at a time, so it also holds what varies by class.

    Pairs chosen as the worst of one measurement look better in the other even if nothing changed. So three
    sets are reported: the worst (by plain conflict) before, the worst after, and the rarest classes with the
    most frequent ones, a choice that looks at no conflict.

    Args:
        before: an `Interference`.
        after: another, with the same classes in the same order and the same parameter group.
        pairs: pairs to report by each rule, at least 1; fewer come back if there are fewer.

    Raises:
        InputError: other classes, another order, another parameter group, or ``pairs`` below 1.

    Source: Zou and Donner (2008) for the interval of a difference.

    Example:
        >>> from tailgrad.interference import measure
        >>> import torch
        >>> data = [(torch.eye(4).repeat(3, 1), torch.arange(12) % 4)]
        >>> first, second = (measure(torch.nn.Linear(4, 4), data, "all") for _ in range(2))
        >>> [len(found) for found in compare(first, second, pairs=2).pairs.values()]
        [2, 2, 2]
    """
    _check(before, after)
    in_range("pairs", pairs, 1)
    clean = all(m.disattenuated is not None and m.interval is not None for m in (before, after))
    conflict = np.stack([_conflict(before, clean), _conflict(after, clean)])
    interval = _interval(conflict, before, after) if clean else np.full_like(conflict, np.nan)
    known = ~np.isnan(conflict[1] - conflict[0])
    chosen = {
        BEFORE: _worst(before.conflict, known),
        AFTER: _worst(after.conflict, known),
        COUNTS: _rare_with_frequent(np.minimum(before.counts, after.counts)),
    }
    return Comparison(
        class_names=tuple(before.class_names),
        primary=before.primary,
        disattenuated=clean,
        conflict=conflict,
        null=np.stack([before.null, after.null]),
        interval=interval,
        mean=_mean_change(np.clip(conflict, -1, 1), interval),
        chosen={rule: tuple(islice(found, pairs)) for rule, found in chosen.items()},
    )


def _check(before: Interference, after: Interference) -> None:
    names, others = list(before.class_names), list(after.class_names)
    if sorted(names) != sorted(others):
        odd = sorted(set(names) ^ set(others))[:5]
        raise InputError(
            f"before and after must cover the same classes, got {len(names)} and {len(others)}, in one only: "
            f"{odd}; measure both on the same data set"
        )
    if names != others:
        k = next(k for k, pair in enumerate(zip(names, others, strict=True)) if pair[0] != pair[1])
        raise InputError(
            f"before and after must list classes in one order, got {names[k]!r} and {others[k]!r} as class "
            f"{k}; pass class_names in the order of the labels"
        )
    if before.primary != after.primary:
        raise InputError(
            f"before and after must be about one parameter group, got {before.primary!r} and "
            f"{after.primary!r}; measure both with the same parameters="
        )


def _conflict(result: Interference, clean: bool) -> Array:
    values = np.array(result.disattenuated if clean else result.conflict, dtype=np.float64)
    np.fill_diagonal(values, np.nan)
    return values


def _interval(conflict: Array, before: Interference, after: Interference) -> Array:
    (low, high), (low_after, high_after) = np.asarray(before.interval), np.asarray(after.interval)
    difference = conflict[1] - conflict[0]
    down = np.hypot(conflict[1] - low_after, high - conflict[0])
    up = np.hypot(high_after - conflict[1], conflict[0] - low)
    return np.stack([difference - down, difference + up])


def _worst(conflict: Array, known: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    rows, columns = np.nonzero(np.triu(known, 1))
    return ((int(rows[p]), int(columns[p])) for p in np.argsort(conflict[rows, columns], kind="stable"))


def _rare_with_frequent(counts: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(a-th rarest, b-th most frequent) by a + b, so that no single class makes all the pairs."""
    order = [int(k) for k in np.argsort(counts, kind="stable") if counts[k] > 0]
    last = len(order) - 1
    return ((order[a], order[last - total + a]) for total in range(last) for a in range(total + 1))


def _mean_change(conflict: Array, interval: Array) -> Change:
    difference = conflict[1] - conflict[0]
    known = ~np.isnan(difference)
    values, partners, number = np.where(known, difference, 0.0), known.sum(1), known.sum() / 2
    if number == 0:
        return Change(_NAN, _NAN, _NAN)
    value = float(values.sum() / 2 / number)
    if number == 1:
        i, j = np.argwhere(known)[0]
        return Change(value, float(interval[0, i, j]), float(interval[1, i, j]))
    seen = partners > 0
    remaining = number - partners[seen]
    if (remaining == 0).any():
        return Change(value, _NAN, _NAN)
    left = (values.sum() / 2 - values.sum(1)[seen]) / remaining
    half = float(special.stdtrit(len(left) - 1, 0.95) * np.sqrt((len(left) - 1) * left.var()))
    return Change(value, value - half, value + half)
