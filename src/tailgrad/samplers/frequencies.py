"""How often each class is drawn, and what that does to the prior."""

import math

from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.types import Correction


def power_frequencies(counts: Tensor, power: float) -> Tensor:
    """``log q_k`` with ``q_k`` proportional to ``n_k^power``, float64 [K].

    Raises:
        InputError: ``power`` is not a finite number.

    Example:
        >>> import torch
        >>> power_frequencies(torch.tensor([100, 10, 1]), 0.5).exp().numpy().round(6)
        array([0.706101, 0.223289, 0.07061 ])
    """
    if not math.isfinite(power):
        raise InputError(f"power must be finite, got {power}; 1 is natural, 0 class-balanced")
    return (power * counts.double().log()).log_softmax(0)


def sampling_correction(log_frequencies: Tensor, counts: Tensor) -> Correction:
    """The ledger entry of sampling with q_k: ``log(q_k / pi_k)``.

    Example:
        >>> import torch
        >>> natural = power_frequencies(torch.tensor([3, 1]), 1.0)
        >>> sampling_correction(natural, torch.tensor([3, 1]))
        Correction(kind='sampling', log_shift=(0.0, 0.0))
    """
    shift = log_frequencies - power_frequencies(counts, 1.0)
    return Correction("sampling", tuple(shift.tolist()))
