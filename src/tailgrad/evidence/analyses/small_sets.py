"""Images as short vectors, split and thinned by seed: what experiments about optimisation train on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.data import (
    Profile,
    Source,
    Split,
    duplicate_groups,
    load_images,
    longtail,
    make_split,
    open_source,
)
from tailgrad.evidence.splits_used import used

Indices = NDArray[np.int64]
_VAL = 0.2


@dataclass(frozen=True, eq=False)
class Part:
    """Vectors with their classes.

    Args:
        inputs: [N, D] float32.
        target: class indices [N].

    Example:
        >>> len(Part(torch.zeros(3, 2), torch.tensor([0, 1, 1])))
        3
    """

    inputs: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def some(self, index: Tensor) -> "Part":
        """The examples at these positions, [M]."""
        return Part(self.inputs[index], self.target[index])


@dataclass(frozen=True, eq=False)
class SmallSet:
    """Three parts of a source, inputs standardised by the training part.

    Args:
        train: thinned where that was asked for.
        val: as the source has the classes, carved out before thinning.
        test: the source's own, or carved out by seed.
        num_classes: K.
        extra_variance: n_test / n_train where the test part was drawn by seed, else 0; for ``Figure.over``.

    Example:
        >>> small_set("digits-lt", 0, profile=Profile("exponential", 10)).counts
        (102, 82, 63, 49, 38, 29, 22, 17, 13, 10)
    """

    train: Part
    val: Part
    test: Part
    num_classes: int
    extra_variance: float = 0.0

    @property
    def counts(self) -> tuple[int, ...]:
        """Training examples of each class [K]."""
        return tuple(self.train.target.bincount(minlength=self.num_classes).tolist())


def small_set(
    source: str,
    seed: int,
    *,
    profile: Profile | None = None,
    classes: Sequence[int] | None = None,
    side: int = 8,
) -> SmallSet:
    """A source as grey vectors of ``side * side`` numbers, split by seed, its training part thinned by seed.

    Args:
        source: as for ``open_source``.
        seed: of the split and of the choice that thinning makes.
        profile: of the training part; None leaves it as the source has it.
        classes: to use, numbered anew in this order; None takes all.
        side: images are brought to ``side`` by ``side`` pixels.

    Raises:
        InputError: a class that is not there, or as ``make_split`` and ``longtail``.

    Example:
        >>> pair = small_set("digits-lt", 0, classes=(3, 8))
        >>> pair.train.inputs.shape[1], len(pair.test)
        (64, 100)
    """
    whole, groups, vectors = _decoded(source, side)
    split = make_split(whole, seed=seed, val=_VAL, groups=groups)
    wanted = tuple(range(whole.num_classes)) if classes is None else tuple(classes)
    number = _numbers(wanted, whole.num_classes)
    parts = {part: _of_classes(getattr(split, part), whole, wanted) for part in ("train", "val", "test")}
    if profile is not None:
        labels = number[whole.labels[parts["train"]]]
        parts["train"] = parts["train"][longtail(labels, profile, seed, num_classes=len(wanted))]
    used(Split(parts["train"], parts["val"], parts["test"], seed=seed), whole)
    made = _standardised({part: vectors[torch.as_tensor(index)] for part, index in parts.items()})
    target = {part: torch.as_tensor(number[whole.labels[index]]) for part, index in parts.items()}
    found = {part: Part(made[part], target[part]) for part in parts}
    return SmallSet(**found, num_classes=len(wanted), extra_variance=_extra_variance(whole, split))


@lru_cache(maxsize=2)
def _decoded(source: str, side: int) -> tuple[Source, Indices, Tensor]:
    opened = open_source(source)
    images = load_images(opened, range(len(opened.items)), (side, side))
    vectors = images.float().mean(1).flatten(1) / 255
    return opened, duplicate_groups(opened).group, vectors


def _numbers(wanted: Sequence[int], num_classes: int) -> Indices:
    number = np.full(num_classes, -1, np.int64)
    for new, old in enumerate(wanted):
        if not 0 <= old < num_classes:
            raise InputError(
                f"classes must be 0 to {num_classes - 1}, got {old}; name classes that the source has"
            )
        number[old] = new
    return number


def _of_classes(index: Indices, source: Source, wanted: Sequence[int]) -> Indices:
    found: Indices = index[np.isin(source.labels[index], wanted)]
    return found


def _standardised(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    mean, scale = parts["train"].mean(), parts["train"].std()
    return {name: (part - mean) / scale for name, part in parts.items()}


def _extra_variance(source: Source, split: Split) -> float:
    return 0.0 if "test" in source.given else len(split.test) / len(split.train)
