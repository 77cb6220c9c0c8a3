"""Inner products of class gradients, and what is read from them: cosines and norms."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.float64]
_COLUMNS = 2**18  # bounds the float64 copy of a large gradient matrix
_EXACT_ROWS = 256  # above this many rows products are taken in float32 and summed in float64
_COLUMNS_32 = 2**12


def gram(rows: Tensor) -> Array:
    """``G G'`` [K, K] of rows G [K, P], in float64.

    Grams add over parameters, ``G G' = sum_l G_l G_l'``, so the Gram of each parameter gives
    every layer, block and group.

    Example:
        >>> gram(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        array([[5., 2.],
               [2., 1.]])
    """
    result = inner(rows, rows)
    return (result + result.T) / 2


def inner(rows: Tensor, others: Tensor) -> Array:
    """``G H'`` [I, J] of rows G [I, P] and others H [J, P], summed in float64.

    Up to 256 rows of either, or rows in float64, products are exact to float64; above, products of 4,096
    columns at a time are taken in float32, which is off by about 1e-6 of the norms.

    Example:
        >>> inner(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
        array([[11.]])
    """
    rows, others = rows.detach(), others.detach()
    home = "cpu" if rows.device.type == "mps" else rows.device  # no float64 on Apple's GPUs
    total = torch.zeros(len(rows), len(others), dtype=torch.float64, device=home)
    exact = rows.dtype is torch.float64 or max(len(rows), len(others)) <= _EXACT_ROWS
    width = _COLUMNS if exact else _COLUMNS_32
    for left, right in zip(torch.split(rows, width, 1), torch.split(others, width, 1), strict=True):
        product = left.to(home).double() @ right.to(home).double().T if exact else left @ right.T
        total += product.to(home)
    result: Array = total.cpu().numpy()
    return result


def grams(gradients: Mapping[str, Tensor]) -> dict[str, Array]:
    """The Gram [K, K] of each parameter's class gradients [K, numel].

    Example:
        >>> grams({"bias": torch.ones(2, 3)})["bias"][0, 1].item()
        3.0
    """
    return {name: gram(rows) for name, rows in gradients.items()}


def total(by_parameter: Mapping[str, Array], names: Iterable[str]) -> Array:
    """Sum of the Grams of the named parameters.

    Example:
        >>> total({"a": np.eye(2), "b": np.ones((2, 2))}, ["a", "b"])
        array([[2., 1.],
               [1., 2.]])
    """
    return np.sum([by_parameter[name] for name in names], axis=0)  # type: ignore[no-any-return]


def cosines(products: Array) -> Array:
    """``C_ij = <g_i, g_j> / (|g_i| |g_j|)`` from a Gram [K, K]; NaN in row and column of a zero gradient.

    Example:
        >>> cosines(np.diag([4.0, 0.0]))
        array([[ 1., nan],
               [nan, nan]])
    """
    norm = np.sqrt(np.diagonal(products))
    norm = np.where(norm > 0, norm, np.nan)
    result: Array = np.clip(products / np.outer(norm, norm), -1.0, 1.0)
    np.fill_diagonal(result, np.where(np.isnan(norm), np.nan, 1.0))
    return result


def norms(products: Array, counts: npt.NDArray[np.int64]) -> Array:
    """Gradient norms [K] from a Gram; NaN for a class without an example.

    Example:
        >>> norms(np.diag([4.0, 0.0]), np.array([2, 0]))
        array([ 2., nan])
    """
    return np.where(counts > 0, np.sqrt(np.diagonal(products)), np.nan)


def off_diagonal(matrix: Array) -> Array:
    """The finite entries off the diagonal of [K, K], each pair once.

    Example:
        >>> off_diagonal(np.array([[1.0, -0.5], [-0.5, 1.0]]))
        array([-0.5])
    """
    upper = matrix[np.triu_indices(len(matrix), 1)]
    return upper[~np.isnan(upper)]
