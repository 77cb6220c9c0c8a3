"""Wrong labels put into a training part on purpose."""

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, in_range


def noisy_labels(
    labels: NDArray[np.int64], where: NDArray[np.int64], rate: float, num_classes: int, seed: int
) -> NDArray[np.int64]:
    """Labels of which some, among the positions ``where``, are replaced by another class.

    Symmetric noise: every label at ``where`` is replaced with probability ``rate``, by one of the other K - 1
    classes with equal chance. So a rare class gains more wrong images from frequent ones than it loses.

    Args:
        labels: class indices [N]; not changed.
        where: positions that may be relabelled.
        rate: in [0, 1).
        num_classes: K, at least 2.
        seed: of the draw.

    Raises:
        InputError: a rate outside its range, or a single class.

    Source: the symmetric noise of Ma et al., arXiv 2006.13554, with the true class left out of the draw.

    Example:
        >>> labels = np.zeros(1000, np.int64)
        >>> found = noisy_labels(labels, np.arange(500), 0.4, 3, seed=0)
        >>> int((found[:500] != 0).sum()), int((found[500:] != 0).sum())
        (205, 0)
    """
    in_range("label_noise", rate, 0, 1)
    if rate == 1 or num_classes < 2:
        raise InputError(
            f"label_noise must be below 1 and there must be 2 classes, got {rate} and {num_classes}; "
            "lower the rate"
        )
    random = np.random.RandomState(seed)  # its stream is frozen
    wrong = where[random.random_sample(len(where)) < rate]
    found = labels.copy()
    found[wrong] = (labels[wrong] + random.randint(1, num_classes, len(wrong))) % num_classes
    return found
