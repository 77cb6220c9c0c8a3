"""The last linear layer of a network, where its input is narrower than the number of classes."""

import math

import torch
from torch import Tensor, nn

from tailgrad.interference.groups import logit_module
from tailgrad.interference.network import Network
from tailgrad.interference.trees import Tree


def narrow_head(network: Network, inputs: Tree) -> nn.Linear | None:
    """The linear layer that returns the logits, if it has fewer inputs than outputs and shares no parameter.

    Args:
        network: the network.
        inputs: a few examples.

    Example:
        >>> narrow_head(Network(nn.Sequential(nn.Flatten(), nn.Linear(2, 3))), torch.zeros(1, 2))
        Linear(in_features=2, out_features=3, bias=True)
    """
    name, _ = logit_module(network, inputs)
    head = network.model.get_submodule(name) if name else None
    # a subclass or a parametrised layer may compute something else
    if type(head) is not nn.Linear or not isinstance(head.weight, nn.Parameter):
        return None
    if head.in_features >= head.out_features or _calls(network, head, inputs) != 1:
        return None
    owners = [m for m in network.model.modules() if m is not head]
    shared = {id(p) for m in owners for p in m.parameters(recurse=False)}
    return None if any(id(p) in shared for p in head.parameters()) else head


def _calls(network: Network, head: nn.Linear, inputs: Tree) -> int:
    calls: list[None] = []
    handle = head.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        with torch.no_grad():
            network.run(inputs)
    finally:
        handle.remove()
    return len(calls)


def residual_projection(head: nn.Linear | None, num_classes: int, seed: int, width: int = 1024) -> Tensor:
    """What mean logit gradients of many classes are multiplied by, so that no [K, K] array is kept, [K, d].

    The head's weights, which turn them into gradients at its input; random signs where there is no such head.

    Example:
        >>> residual_projection(None, 3000, 0).shape
        torch.Size([3000, 1024])
    """
    if head is not None:
        weights: Tensor = head.weight.detach().cpu().double()
        return weights
    signs = torch.randint(2, (num_classes, width), generator=torch.Generator().manual_seed(seed))
    return (2.0 * signs - 1.0).double() / math.sqrt(width)
