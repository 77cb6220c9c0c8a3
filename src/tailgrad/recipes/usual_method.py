"""Which method data with a class imbalance usually begin with."""

BALANCED = 1.5
"""Imbalance factor below which there is nothing to correct."""


def usual_method(factor: float) -> tuple[str, str]:
    """The name of a method, and why.

    Args:
        factor: largest over smallest count of training examples of a class, at least 1.

    Source: a choice of this library: the correction without a constant to tune.

    Example:
        >>> usual_method(20.0)[0], usual_method(1.2)[0]
        ('balanced_softmax', 'ce')
    """
    if factor < BALANCED:
        return "ce", f"The imbalance factor is {factor:.1f}, nearly balanced: plain cross-entropy is enough."
    return "balanced_softmax", (
        f"The imbalance factor is {factor:.1f}: this loss takes the class prior out of the training, and has "
        "no constant to tune."
    )
