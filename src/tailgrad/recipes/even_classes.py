"""How a combination that counts every class of a batch the same shifts the class prior."""

import math
from collections.abc import Sequence

from tailgrad.optim import GapWeights
from tailgrad.recipes.combinations import is_combiner, kind_of
from tailgrad.recipes.config import CombineConfig
from tailgrad.types import Correction


def counts_classes_evenly(combine: CombineConfig) -> bool:
    """Whether every class of a batch counts the same, whatever its share of it.

    Example:
        >>> counts_classes_evenly(CombineConfig(name="pcgrad"))
        True
    """
    return kind_of(combine) is GapWeights or (is_combiner(combine) and combine.prior == "uniform")


def even_correction(combine: CombineConfig, counts: Sequence[int], batch_size: int) -> Correction | None:
    """The shift as an entry of the correction ledger, or None where there is none.

    A class counts ``1/m`` in a batch that holds it and m classes in all, so that
    ``w_k = E[1/m; k in the batch] / pi_k`` with the share ``pi_k = n_k / N``. The expectation is close to
    ``s_k(B) / (1 + sum_{j != k} s_j(B - 1))`` with ``s_k(B) = 1 - (1 - pi_k)^B`` for batches of B; scaled so
    that ``sum_k n_k w_k = N``. Large batches approach inverse frequency, batches of one or two examples
    correct nothing. It holds for the parameters that are not combined; for the others it is what the method
    starts from.

    Args:
        combine: the method.
        counts: training examples of each class; the shift of a class without any is 0.
        batch_size: B.

    Source: ours; checked by simulation in the tests.

    Example:
        >>> found = even_correction(CombineConfig(name="pcgrad"), [3, 1], 8)
        >>> [round(math.exp(shift), 3) for shift in found.log_shift]
        [0.725, 1.826]
    """
    if not counts_classes_evenly(combine):
        return None
    total = sum(counts)
    seen = [1 - (1 - n / total) ** batch_size for n in counts]
    beside = [1 - (1 - n / total) ** (batch_size - 1) for n in counts]
    counted = [s / (1 + sum(beside) - b) for s, b in zip(seen, beside, strict=True)]
    weights = [total * c / (n * sum(counted)) if n else 1.0 for n, c in zip(counts, counted, strict=True)]
    return Correction("weight", tuple(math.log(w) for w in weights))
