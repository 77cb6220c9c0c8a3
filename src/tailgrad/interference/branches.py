"""How the branches of a head share each class's gradient."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from tailgrad.interference.gram import Array
from tailgrad.interference.network import Network


@dataclass(frozen=True, slots=True)
class Branches:
    """Gradient norms ``gamma[b, k] = |grad_{theta_b} L_k|`` and each branch's share of a class.

    Linear branches that are only summed receive identical gradients without dropout, so their shares are 1/B
    whatever the data: that is the null a share must be read against.

    Args:
        names: B parameter prefixes.
        norms: [B, K], NaN for a class without an example.

    Source: arXiv 2606.05740 eq. 43; the printed normalisation is lost, shares by column sums are ours.

    Example:
        >>> branches = Branches(("a", "b"), np.array([[1.0, 2.0], [3.0, 2.0]]))
        >>> branches.shares, branches.null
        (array([[0.25, 0.5 ], [0.75, 0.5 ]]), 0.5)
    """

    names: tuple[str, ...]
    norms: Array

    @property
    def shares(self) -> Array:
        """``gamma[b, k] / sum_b gamma[b, k]``, [B, K]; NaN where no branch has a gradient."""
        sums = self.norms.sum(0)
        return self.norms / np.where(sums > 0, sums, np.nan)

    @property
    def null(self) -> float:
        """The share 1/B of identical branches."""
        return 1 / len(self.names)


def branch_norms(
    network: Network, squares: Mapping[str, Array], counts: npt.NDArray[np.int64]
) -> Branches | None:
    """Norms of the first module that holds a ``branches`` ModuleList.

    Args:
        network: the network.
        squares: parameter name -> squared norms of the class gradients [K].
        counts: examples of each class [K].

    Example:
        >>> branch_norms(Network(nn.Linear(2, 2)), {}, np.array([1, 1])) is None
        True
    """
    for prefix, module in network.model.named_modules():
        branches = getattr(module, "branches", None)
        if isinstance(branches, nn.ModuleList) and len(branches):
            names = tuple(f"{prefix}.branches.{b}".lstrip(".") for b in range(len(branches)))
            return Branches(names, np.stack([_norms(network, b, squares, counts) for b in branches]))
    return None


def _norms(
    network: Network, branch: nn.Module, squares: Mapping[str, Array], counts: npt.NDArray[np.int64]
) -> Array:
    own = {id(p) for p in branch.parameters()}
    total = np.zeros(len(counts))
    for name, parameter in network.parameters.items():
        if id(parameter) in own:
            total += squares[name]
    return np.where(counts > 0, np.sqrt(total), np.nan)
