"""Losses of examples whose plain mean is what the loss itself would give as its mean."""

from torch import Tensor, nn

from tailgrad.losses.targets import mix, of_labels


def each_of_mean(loss: nn.Module, losses: Tensor, target: Tensor) -> Tensor:
    """``N w_y l_i / sum_j w_{y_j}`` for a loss that divides by its weights, else the losses as they are.

    For optimisers that take one loss an example and average themselves: without this the mean over weights
    would become one over examples, and the length of a step would change with the weights.

    Args:
        loss: gave the losses with ``reduction="none"``.
        losses: [N].
        target: class indices [N] or probabilities [N, K].

    Example:
        >>> import torch
        >>> from tailgrad.losses import CrossEntropyLoss
        >>> z, y = torch.randn(4, 2), torch.tensor([0, 0, 0, 1])
        >>> each = CrossEntropyLoss([3, 1], weights="inverse", reduction="none")
        >>> mean = CrossEntropyLoss([3, 1], weights="inverse")
        >>> torch.allclose(each_of_mean(each, each(z, y), y).mean(), mean(z, y))
        True
    """
    weighting, weight = getattr(loss, "weighting", None), getattr(loss, "weight", None)
    if weight is None or weighting is None or weighting.normalizer != "weights" or not weighting.active:
        return losses
    shares = mix(of_labels(weight.to(losses.dtype)[None], target), target)
    return losses * (len(losses) / shares.sum())
