"""How much every class is opposed by the others beyond chance, as one number a class."""

import numpy as np

from tailgrad.interference.class_groups import agreement
from tailgrad.interference.gram import Array
from tailgrad.interference.result import Interference


def opposition(result: Interference) -> Array:
    """``e_c = mean_{j != c} max(0, -x_cj)`` [K] with x the ``agreement``: excess conflict of each class.

    Only pairs below their null count, so that friends of a class do not hide its opponents. Noise that is
    left in x does not average out of it: a class without any opponent still gets a little.

    Args:
        result: a measurement; without folds every class counts as reliable.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> from tailgrad.interference import measure
        >>> import torch
        >>> data = [(torch.eye(4), torch.arange(4))]
        >>> opposition(measure(torch.nn.Linear(4, 4), data, "all", folds=0)).shape
        (4,)
    """
    found: Array = np.maximum(-agreement(result), 0.0).sum(1) / max(len(result.counts) - 1, 1)
    return found
