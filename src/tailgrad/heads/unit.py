"""Vectors of length one, zero vectors left alone."""

import torch
from torch import Tensor


def unit(vectors: Tensor) -> Tensor:
    """``v / |v|`` along the last dimension; 0 for a zero vector, with a gradient that stays finite.

    Example:
        >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    found: Tensor = vectors / length.where(length > 0, 1.0)
    return found
