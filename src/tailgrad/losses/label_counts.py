"""How many of the training examples have a label, and how many have not."""

from collections.abc import Sequence

from tailgrad.checks import InputError


def label_counts(counts: Sequence[int], num_samples: int | None) -> tuple[list[int], int]:
    """Positive examples of each label, kept between 1 and N - 1, and N itself.

    Args:
        counts: positive examples of each label, each at least 1.
        num_samples: N; None takes the sum of the counts, right for one label each.

    Raises:
        InputError: fewer examples than a label has.

    Example:
        >>> label_counts([9, 10], 10)
        ([9, 9], 10)
    """
    total = sum(counts) if num_samples is None else num_samples
    if not total >= max(*counts, 2):
        raise InputError(
            f"num_samples must be at least 2 and the largest count, got {total} for a count of {max(counts)}"
            "; give the number of training examples"
        )
    return [min(n, total - 1) for n in counts], total
