"""Whether a matrix of cosines, or only its mean, can belong to any vectors at all."""

from collections.abc import Sequence

import numpy as np

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.finding import CONSISTENT, IMPOSSIBLE, Finding


def mean_cosine_possible(mean: float, num_classes: int, error: float = 0.0) -> Finding:
    """Whether K vectors can have this mean of cosines over all pairs: it is at least ``-1 / (K - 1)``.

    ``|sum_i u_i|^2 = K + K (K - 1) mean >= 0`` for unit vectors u.

    Args:
        mean: mean of the off-diagonal entries.
        num_classes: K, at least 2.
        error: how far the printed mean may be from the exact one.

    Raises:
        InputError: fewer than two classes, or a mean outside [-1, 1].

    Example:
        >>> print(mean_cosine_possible(-0.31, 6))
        impossible: mean cosine: It is -0.310 and -1/(K-1) = -0.200 is the least for 6 classes.
    """
    in_range("num_classes", num_classes, 2)
    in_range("mean", mean, -1, 1)
    least = -1 / (num_classes - 1)
    numbers = {"mean": mean, "least": least, "classes": num_classes, "error": error}
    sentence = f"It is {mean:.3f} and -1/(K-1) = {least:.3f} is the least for {num_classes} classes."
    verdict = CONSISTENT if mean + error >= least - 1e-12 else IMPOSSIBLE
    return Finding("mean cosine", verdict, sentence, "", numbers)


def cosine_matrix_possible(matrix: Sequence[Sequence[float]], error: float = 0.0) -> list[Finding]:
    """Whether some vectors have these cosines: symmetric, ones on the diagonal, positive semidefinite.

    Entries that are each off by at most ``error`` move an eigenvalue by at most ``K error``.

    Args:
        matrix: cosines [K, K].
        error: how far a printed entry may be from the exact one: half a unit of its last digit.

    Raises:
        InputError: not a square matrix of finite numbers, K below 2.

    Source: Weyl's inequality for the tolerance.

    Example:
        >>> found = cosine_matrix_possible([[1, -0.9, -0.9], [-0.9, 1, -0.9], [-0.9, -0.9, 1]])
        >>> [one.verdict for one in found]
        ['impossible', 'impossible']
    """
    try:
        values = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise InputError(f"matrix must be K rows of K numbers, got {fault}; complete the rows") from fault
    if values.ndim != 2 or len(values) < 2 or len(values) != values.shape[1] or not np.isfinite(values).all():
        raise InputError(f"matrix must be K rows of K finite numbers, got shape {values.shape}; complete it")
    size, slack = len(values), error + 1e-9
    apart = (np.abs(values) - 1, np.abs(values.diagonal() - 1), np.abs(values - values.T) / 2)
    cosines = all(bool((far <= slack).all()) for far in apart)
    smallest = float(np.linalg.eigvalsh((values + values.T) / 2)[0])
    mean = float((values.sum() - np.trace(values)) / (size * (size - 1)))
    shape = "" if cosines else " It is not symmetric with ones on the diagonal and cosines elsewhere."
    whole = Finding(
        "cosine matrix",
        CONSISTENT if cosines and smallest >= -size * slack else IMPOSSIBLE,
        f"The smallest eigenvalue is {smallest:.3f}; cosines have none below 0.{shape}",
        "",
        {"smallest_eigenvalue": smallest, "is_cosines": cosines, "error": error},
    )
    return [whole, mean_cosine_possible(float(np.clip(mean, -1, 1)), size, error)]
