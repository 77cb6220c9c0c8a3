"""Curvature of class losses that are quadratics by construction."""

import pytest
import torch
from torch import Tensor, nn

from tailgrad.evidence.analyses.tail_saddles import depth, share_at_saddle
from tailgrad.interference import curvature

BENDS = torch.tensor([[4.0, -1.0], [3.0, 2.0], [2.0, -2.0]])


class Point(nn.Module):
    """Three logits whatever the input; only the first two move."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([0.3, -0.2]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.at, self.at[:1]]).expand(len(x), 3)


def _quadratic(logits: Tensor, target: Tensor) -> Tensor:
    return (BENDS[target] * logits[:, :2].square()).sum(1) / 2


def test_a_saddle_a_bowl_and_an_even_saddle_are_told_apart() -> None:
    data = [(torch.zeros(6, 1), torch.tensor([0, 0, 1, 1, 2, 2]))]
    found = curvature(Point(), data, criterion=_quadratic)
    assert depth(found) == pytest.approx([0.25, 0.0, 1.0], abs=1e-4)
    assert [share_at_saddle(found, (k,)) for k in range(3)] == [1.0, 0.0, 1.0]
    assert share_at_saddle(found, (0, 1)) == 0.5
