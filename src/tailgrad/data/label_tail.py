"""Label sets whose labels are long-tailed, for sources that are made and not found."""

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError


def tail_counts(most: int, factor: float, labels: int) -> tuple[int, ...]:
    """Positive images of each label: ``round(most * factor^(-k / (L - 1)))``.

    Args:
        most: of the first label.
        factor: first over last, at least 1; 1 is as many of each.
        labels: L, at least 2.

    Example:
        >>> tail_counts(100, 10, 3)
        (100, 32, 10)
    """
    return tuple(round(most * factor ** (-k / (labels - 1))) for k in range(labels))


def allot(counts: tuple[int, ...], images: int, places: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Indicators [images, L] with exactly ``counts`` positives a label and at most ``places`` an image.

    Labels are given out one after the other, each to images drawn from those with a place left.

    Args:
        counts: positives of each label.
        images: how many there are.
        places: most labels of an image.
        rng: draws.

    Raises:
        InputError: a label has more positives than there are images with a place left.

    Example:
        >>> allot((3, 2), 4, 2, np.random.default_rng(0)).sum(0).tolist()
        [3, 2]
    """
    found = np.zeros((images, len(counts)), np.uint8)
    for k, n in enumerate(counts):
        free = np.flatnonzero(found.sum(1) < places)
        if n > len(free):
            raise InputError(
                f"counts must fit {images} images of {places} places, got counts[{k}]={n} with {len(free)} "
                "images left; use fewer"
            )
        found[rng.choice(free, n, replace=False), k] = 1
    return found
