"""Long-tail profiles: how many training images each class keeps, and which ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, one_of

KINDS = ("exponential", "step", "pareto", "explicit")


def imbalance_factor(value: float) -> float:
    """Read an imbalance factor written either way round: 100 and 0.01 both mean 100 to 1.

    Args:
        value: largest over smallest class count (at least 1), or its inverse (between 0 and 1).

    Raises:
        InputError: the value is zero, negative or not finite.

    Example:
        >>> imbalance_factor(100), imbalance_factor(0.01)
        (100.0, 100.0)
    """
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"imb_factor must be positive, got {value}; write 100 (or 0.01) for 100 to 1")
    return 1.0 / value if value < 1 else float(value)


@dataclass(frozen=True)
class Profile:
    r"""A long-tail profile: class c of K keeps n_c images, in the order of the class index.

    With F the imbalance factor and n_max the largest class available:

    - ``exponential``: ``n_c = floor(n_max F^(-c/(K-1)))``
    - ``step``: n_max for the first half of the classes (the smaller half of an odd K), then n_max / F
    - ``pareto``: ``n_c = floor(n_max (c+1)^(-ln F / ln K))``
    - ``explicit``: the counts given

    Args:
        kind: one of the four above.
        imb_factor: F, either way round (100 or 0.01); stored as at least 1. Needed except for explicit.
        counts: K counts, each at least 1; for explicit only.

    Raises:
        InputError: unknown kind, a missing, superfluous or impossible number.

    Source:
        Exponential and step: Cao et al. 2019 (LDAM-DRW). Pareto: the
        quantiles of a Pareto law at ranks (c+1)/K, its exponent chosen so that the last class keeps
        n_max / F; the class order is fixed where ImageNet-LT (Liu et al. 2019) draws it. Status: assumed.

    Example:
        >>> counts_for(Profile("exponential", 100), [5000] * 10).tolist()
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    """

    kind: str
    imb_factor: float | None = None
    counts: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        one_of("profile.kind", self.kind, KINDS)
        needed, other = ("counts", "imb_factor") if self.kind == "explicit" else ("imb_factor", "counts")
        if getattr(self, needed) is None or getattr(self, other) is not None:
            raise InputError(
                f"a profile of kind {self.kind!r} must have {needed} and no {other}, got "
                f"imb_factor={self.imb_factor} and counts={self.counts}; give {needed} only"
            )
        if self.imb_factor is not None:
            object.__setattr__(self, "imb_factor", imbalance_factor(self.imb_factor))


def shares(kind: str, imb_factor: float, num_classes: int) -> NDArray[np.float64]:
    """The fraction of n_max that each class keeps, [K] in (0, 1], first class 1 and last 1 / F.

    Example:
        >>> shares("step", 10, 4).tolist()
        [1.0, 1.0, 0.1, 0.1]
    """
    c = np.arange(num_classes, dtype=np.float64)
    if kind == "step":
        return np.where(c < num_classes // 2, 1.0, 1.0 / imb_factor)
    if kind == "pareto":
        return (c + 1) ** (-math.log(imb_factor) / math.log(max(num_classes, 2)))
    return (1.0 / imb_factor) ** (c / max(num_classes - 1, 1))


def _asked(profile: Profile, available: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts the profile asks for, before the cap at what is available."""
    if profile.counts is not None:
        if len(profile.counts) != len(available):
            raise InputError(
                f"profile.counts must have one count a class, got {len(profile.counts)} for "
                f"{len(available)} classes; give {len(available)} counts in the order of the classes"
            )
        return np.asarray(profile.counts, dtype=np.int64)
    assert profile.imb_factor is not None  # __post_init__ has seen to it; this tells the type checker
    exact = available.max(initial=0) * shares(profile.kind, profile.imb_factor, len(available))
    # A quotient such as 49 * (1 / 49) lies one rounding error below its integer.
    asked: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    return asked


def counts_for(profile: Profile, available: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """How many images each class keeps, [K].

    n_max is the largest class available. A class that has fewer images than the profile asks for keeps
    all it has, so the result may lie below the ideal curve; ``shortfall`` says by how much.

    Args:
        profile: the profile.
        available: K counts of the images at hand.

    Raises:
        InputError: explicit counts of another length, or a class that would keep no image.

    Example:
        >>> counts_for(Profile("exponential", 4), [100, 30, 90]).tolist()
        [100, 30, 25]
    """
    at_hand = np.asarray(available, dtype=np.int64)
    kept = np.minimum(_asked(profile, at_hand), at_hand)
    for k, n in enumerate(kept):
        if n < 1:
            raise InputError(
                f"the profile must leave every class an image, got {n} for class {k} of {at_hand[k]} "
                f"available; choose a smaller imbalance factor (got {profile.imb_factor}) or drop the class"
            )
    return kept


def shortfall(profile: Profile, available: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Images that each class lacks for the profile's ideal curve, [K]; zeros where the profile fits.

    Example:
        >>> shortfall(Profile("exponential", 4), [100, 30, 90]).tolist()
        [0, 20, 0]
    """
    at_hand = np.asarray(available, dtype=np.int64)
    missing: NDArray[np.int64] = np.maximum(_asked(profile, at_hand) - at_hand, 0)
    return missing


def longtail(
    labels: NDArray[np.int64],
    profile: Profile,
    seed: int,
    rank: NDArray[np.int64] | None = None,
    num_classes: int | None = None,
) -> NDArray[np.int64]:
    """Choose the images that a long-tailed training set keeps.

    Args:
        labels: class of each candidate, [N].
        profile: the profile.
        seed: seed of the shuffle within each class; without effect where ``rank`` is given.
        rank: canonical order within each class, [N]; the lowest ranks are kept, and candidates of rank
            -1 never. With the field's ranks the choice is the field's own.
        num_classes: K; by default the largest label plus one.

    Returns:
        Ascending positions in ``labels``.

    Raises:
        InputError: as ``counts_for``.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
        >>> rank = np.array([3, 2, 1, 0, 1, 0, 2, 3])
        >>> longtail(labels, Profile("exponential", 2), seed=0, rank=rank).tolist()
        [0, 1, 2, 3, 4, 5]
    """
    # RandomState, because its stream is frozen while that of Generator may change with NumPy's version.
    order = np.random.RandomState(seed).permutation(len(labels)) if rank is None else rank
    classes = num_classes or int(labels.max(initial=-1)) + 1
    members = [np.flatnonzero((labels == k) & (order >= 0)) for k in range(classes)]
    counts = counts_for(profile, [len(m) for m in members])
    kept = [m[np.argsort(order[m], kind="stable")[:n]] for m, n in zip(members, counts, strict=True)]
    return np.sort(np.concatenate(kept))
