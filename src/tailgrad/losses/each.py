"""Losses of examples whose plain mean is what the loss itself would give as its mean."""

from torch import Tensor, nn

from tailgrad.losses.targets import mix, of_labels


def loss_or_each(loss: nn.Module, seen: Tensor, target: Tensor) -> Tensor:
    """The loss of what it takes; where it is one an example, their mean is the loss's own mean.

    A loss in which class weights divide a part only has a method ``each_of_mean`` of its own.

    Args:
        loss: of any reduction.
        seen: what the loss takes: logits or features [N, ...], logits of experts [E, N, K].
        target: class indices [N] or probabilities [N, K].

    Example:
        >>> import torch
        >>> from tailgrad.losses import CrossEntropyLoss
        >>> loss_or_each(CrossEntropyLoss(), torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]))
        tensor(0.6931)
    """
    of_parts = getattr(loss, "each_of_mean", None)
    if of_parts is not None and getattr(loss, "reduction", "mean") == "none":
        each: Tensor = of_parts(seen, target)
        return each
    value: Tensor = loss(seen, target)
    return each_of_mean(loss, value, target) if value.ndim else value


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
