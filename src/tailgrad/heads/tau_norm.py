"""Even out the lengths of a trained classifier's rows."""

import torch
from torch import nn

from tailgrad.checks import InputError, in_range
from tailgrad.heads.cosine import Cosine
from tailgrad.heads.linear import Linear


def tau_normalize(head: nn.Module, tau: float) -> Linear:
    """A new head with rows ``w_k / |w_k|^tau`` and a bias of 0.

    Args:
        head: a trained linear head, left as it is.
        tau: 0 keeps the rows, 1 gives all of them length 1; at least 0, chosen on validation data (21 values
            from 0 to 2 in the source).

    Raises:
        InputError: the head is not linear (a cosine head has no lengths to even out), or tau is negative.

    A row of zeros stays zero. The bias is dropped by setting it to 0, so that the head fits where the old
    one was saved.

    Source: Kang et al., arXiv 1910.09217 and its official code.

    Example:
        >>> head = Linear(2, 2)
        >>> _ = head.weight.data.copy_(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        >>> tau_normalize(head, 1.0).weight.tolist()
        [[0.6..., 0.8...], [0.0, 1.0]]
    """
    in_range("tau", tau, 0)
    if not isinstance(head, nn.Linear) or isinstance(head, Cosine):
        raise InputError(f"head must be linear, got {type(head).__name__}; train one with head=linear first")
    weight = head.weight.detach()
    length = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    new = Linear(head.in_features, head.out_features).to(weight)
    with torch.no_grad():
        new.weight.copy_(weight / length.where(length > 0, 1.0) ** tau)
        new.bias.zero_()
    return new
