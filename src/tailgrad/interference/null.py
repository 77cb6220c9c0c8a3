"""The conflict there would be if features carried no information about the class."""

import numpy as np
import torch
from torch import Tensor

from tailgrad.interference.buckets import chunk_length
from tailgrad.interference.gram import Array, grams
from tailgrad.interference.network import Network
from tailgrad.interference.observer import Seen


class Reservoir:
    """An observer that keeps up to ``size`` inputs a class, each example of a class equally likely.

    Source: Vitter (1985), algorithm R.

    Example:
        >>> pool = Reservoir(size=2, seed=0)
        >>> pool(Seen(0, torch.arange(10.0), None))
        >>> len(pool.kept[0])
        2
    """

    def __init__(self, size: int, seed: int) -> None:
        self.kept: dict[int, list[Tensor]] = {}
        self._size = size
        self._offered: dict[int, int] = {}
        self._random = np.random.default_rng(seed)

    def __call__(self, seen: Seen) -> None:
        """Offer examples of one class to the sample."""
        kept = self.kept.setdefault(seen.label, [])
        for example in seen.inputs:
            offered = self._offered[seen.label] = self._offered.get(seen.label, 0) + 1
            place = offered - 1 if offered <= self._size else int(self._random.integers(offered))
            if place < self._size:  # copied, since a view would keep its whole batch alive
                kept[place : place + 1] = [example.clone()]

    def balanced(self) -> tuple[Tensor, Tensor]:
        """Pooled inputs [n, ...] in class order, and weights [n] that give every class the same total."""
        classes = [self.kept[label] for label in sorted(self.kept)]
        weights = [1 / (len(classes) * len(kept)) for kept in classes for _ in kept]
        examples = [example for kept in classes for example in kept]
        return torch.stack(examples), torch.tensor(weights, dtype=torch.float64)


def null_grams(network: Network, pool: Reservoir, logit_gradients: Tensor) -> dict[str, Array]:
    """Gram [K, K] of the null gradients, for every parameter.

    ``g0_c = grad_theta <R_c, zbar>``, with ``R_c`` the mean logit gradient of class c (``mean(p_i - e_c)``
    for cross-entropy) and ``zbar`` the mean logits over a pooled, class-balanced sample: softmax competition
    and the class prior act as they did, while every class sends the same features.

    Args:
        network: the network, in evaluation mode.
        pool: the pooled sample.
        logit_gradients: R, [K, K]; a zero row (a class without an example) gives a zero null gradient.

    Returns:
        parameter name -> Gram [K, K].

    Example:
        >>> network, pool = Network(torch.nn.Linear(2, 3, bias=False)), Reservoir(4, seed=0)
        >>> pool(Seen(0, torch.ones(4, 2), None))
        >>> R = torch.full((3, 3), 1 / 3, dtype=torch.float64) - torch.eye(3)
        >>> null_grams(network, pool, R)["weight"].round(3)
        array([[ 1.333, -0.667, -0.667],
               [-0.667,  1.333, -0.667],
               [-0.667, -0.667,  1.333]])
    """
    inputs, weights = pool.balanced()
    chunk = chunk_length(inputs)
    sums = {
        name: torch.zeros(len(logit_gradients), p.numel(), dtype=p.dtype, device=p.device)
        for name, p in network.parameters.items()
    }
    for part, share in zip(torch.split(inputs, chunk), torch.split(weights, chunk), strict=True):
        logits, _ = network.run(part)
        _add_products(network, share.to(logits) @ logits, logit_gradients.to(logits), sums)
    return grams(sums)


def _add_products(network: Network, mean_logits: Tensor, residuals: Tensor, sums: dict[str, Tensor]) -> None:
    parameters = list(network.parameters.values())
    for label, residual in enumerate(residuals):
        products = torch.autograd.grad(
            mean_logits, parameters, residual, retain_graph=label + 1 < len(residuals), allow_unused=True
        )
        for rows, product in zip(sums.values(), products, strict=True):
            if product is not None:
                rows[label] += product.flatten()
