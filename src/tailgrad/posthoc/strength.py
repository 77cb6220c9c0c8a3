"""tau, the strength of a prior's correction: a number, or tuned on held-out data."""

import torch
from torch import Tensor

from tailgrad.checks import InputError, in_range
from tailgrad.posthoc.criteria import score

GRID = tuple(i / 20 for i in range(61))


def tau_buffer(tau: float | str) -> Tensor:
    """A number at least 0 as a tensor [], or an empty tensor for ``"tuned"``.

    Raises:
        InputError: another word, or a number below 0.

    Example:
        >>> tau_buffer(1.5), tau_buffer("tuned")
        (tensor(1.5000), tensor([]))
    """
    if isinstance(tau, str):
        if tau != "tuned":
            raise InputError(f"tau must be a number or 'tuned', got {tau!r}; choose one")
        return torch.empty(0)
    return torch.tensor(float(in_range("tau", tau, 0)))


def tuned_tau(logits: Tensor, log_prior: Tensor, target: Tensor, criterion: str) -> float:
    """The tau of 0 to 3 in steps of .05 with the best ``argmax z - tau log pi``, the least of equals.

    Args:
        logits: [N, K].
        log_prior: [K].
        target: class indices [N].
        criterion: ``"balanced_accuracy"`` or ``"macro_f1"``.

    Example:
        >>> logits, log_prior = torch.tensor([[1.0, 0.0], [0.01, 0.0]]), torch.tensor([0.9, 0.1]).log()
        >>> tuned_tau(logits, log_prior, torch.tensor([0, 1]), "macro_f1")
        0.05
    """
    found = [score((logits - t * log_prior).argmax(1), target, len(log_prior), criterion) for t in GRID]
    return GRID[found.index(max(found))]
