"""Label smoothing whose amount depends on the class."""

from torch import Tensor

from tailgrad.losses.targets import of_labels


def smoothed(log_p: Tensor, eps: Tensor, target: Tensor) -> Tensor:
    """``(1 - eps_k)(-log p_k) + (eps_k / K) sum_j (-log p_j)``, [N, 1] or [N, K] as ``of_labels`` chooses.

    Args:
        log_p: log-probabilities [N, K].
        eps: smoothing by class [K], 0 to 1.
        target: class indices [N] or probabilities [N, K].

    Example:
        >>> import torch
        >>> log_p = torch.tensor([[0.8, 0.2]]).log()
        >>> smoothed(log_p, torch.tensor([0.0, 1.0]), torch.tensor([1]))
        tensor([[0.9163]])
    """
    share = of_labels(eps.to(log_p.dtype)[None], target)
    return (-of_labels(log_p, target)).lerp(-log_p.mean(1, keepdim=True), share)
