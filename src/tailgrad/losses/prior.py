"""The class prior that a loss corrects, as logarithms."""

import math
from collections.abc import Sequence

from tailgrad.losses.arguments import required_counts
from tailgrad.losses.weighting import positive_numbers


def log_prior(
    class_counts: Sequence[int] | None, prior: Sequence[float] | None, loss: str
) -> tuple[float, ...]:
    """``log pi_k`` of the counts, or of an explicit prior on any scale.

    Args:
        class_counts: K training counts; may be None with a prior.
        prior: K positive numbers, the shares that the sampler draws, or None for those of the counts.
        loss: the name that an error carries.

    Raises:
        InputError: neither is given, the lengths differ, or a number is not positive.

    Example:
        >>> [round(value, 3) for value in log_prior([3, 1], None, "VSLoss")]
        [-0.288, -1.386]
    """
    if prior is None:
        values: Sequence[float] = required_counts(class_counts, loss)
    else:
        known = None if class_counts is None else required_counts(class_counts, loss)
        values = positive_numbers("prior", prior, known)
    total = math.log(math.fsum(values))
    return tuple(math.log(value) - total for value in values)
