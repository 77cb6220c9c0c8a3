"""Inner products of class gradients by group, block and layer, each computed once."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from tailgrad.interference.gradients import ClassGradients
from tailgrad.interference.gram import Array, cosines, grams, total
from tailgrad.interference.source import Source

MAX_LAYERED = 256
"""Classes up to which [K, K] arrays are kept for every layer."""


class Products:
    """Grams [K, K] of class gradients.

    Args:
        gradients: class gradients.

    Example:
        >>> import torch
        >>> from tailgrad.interference import class_gradients
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> Products(class_gradients(torch.nn.Linear(2, 2), data, parameters="all")).gram("all").shape
        (2, 2)
    """

    def __init__(self, gradients: ClassGradients) -> None:
        self._gradients = gradients
        self.is_layered = len(gradients.class_names) <= MAX_LAYERED
        self._by_parameter = grams(gradients.rows) if self.is_layered and gradients.rows else None
        # of many classes only groups, but kept, since measuring the null needs the memory of the rows
        self._by_group = {} if self.is_layered else {n: gradients.gram(n) for n in gradients.groups.groups}

    def gram(self, name: str) -> Array:
        """Gram of a group, block or layer."""
        if name in self._by_group:
            return self._by_group[name]
        if self._by_parameter is None:
            return self._gradients.gram(name)
        return total(self._by_parameter, self._gradients.groups.members(name))

    def families(self) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]:
        """Groups, blocks and layers of which Grams are kept."""
        groups = self._gradients.groups
        if not self.is_layered:
            return groups.groups, {}, {}
        return groups.groups, self._kept(groups.blocks), self._kept(groups.layers)

    def _kept(self, family: dict[str, list[str]]) -> dict[str, list[str]]:
        """Those that the sketch keeps apart."""
        sketchers = self._gradients.sketchers.values()
        if not sketchers:
            return family
        whole = [set(s.names) for s in sketchers]
        return {
            name: members
            for name, members in family.items()
            if sum(len(piece) for piece in whole if piece <= set(members)) == len(members)
        }

    def squares(self) -> dict[str, Array] | None:
        """Parameter name -> squared norms [K]; None where gradients are sketched."""
        if self._by_parameter is not None:
            return {name: np.diagonal(product) for name, product in self._by_parameter.items()}
        rows = self._gradients.rows
        return {n: r.double().square().sum(1).cpu().numpy() for n, r in rows.items()} if rows else None


def conflicts(products: Products, family: Iterable[str]) -> dict[str, Array]:
    """Cosines [K, K] of each member of a family.

    Example: see ``measure``.
    """
    return {name: cosines(products.gram(name)) for name in family}


def layer_norms(
    squares: Mapping[str, Array] | None, source: Source, seen: npt.NDArray[np.bool_]
) -> dict[str, Array]:
    """``|g_{c,l}| / sqrt(numel_l)`` [K] of each layer; NaN for a class without an example.

    Args:
        squares: parameter name -> squared norms [K]; None gives nothing.
        source: layers and parameters.
        seen: whether a class has examples [K].

    Source: ours, after the layer-wise gradient flow of arXiv 2606.05740.

    Example: see ``measure``.
    """
    if squares is None:
        return {}
    found = {}
    for layer, members in source.groups.layers.items():
        numel = sum(source.network.parameters[name].numel() for name in members)
        square = np.sum([squares[name] for name in members], axis=0)
        found[layer] = np.where(seen, np.sqrt(square / numel), np.nan)
    return found
