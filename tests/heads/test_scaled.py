import pytest
import torch
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import CSBA, Linear
from tailgrad.heads.scaled import ScaledHead


def test_equals_the_head_at_the_start_and_trains_scales_alone() -> None:
    linear, features = Linear(8, 3), torch.randn(5, 8)
    before, weight = linear(features).detach(), linear.weight.detach().clone()
    head = ScaledHead(linear)
    assert torch.equal(head(features), before)
    optimizer = torch.optim.SGD([p for p in head.parameters() if p.requires_grad], lr=0.5)
    F.cross_entropy(head(features), torch.tensor([0, 0, 1, 2, 2])).backward()
    optimizer.step()
    assert torch.equal(linear.weight, weight)
    assert (head.scales != 1).all()
    torch.testing.assert_close(head(features), head.scales * before)


def test_both_may_learn() -> None:
    head = ScaledHead(Linear(8, 3), freeze=False)
    head(torch.randn(5, 8)).square().sum().backward()
    assert all(p.grad is not None for p in head.parameters())
    assert head.takes == "pooled"


def test_other_heads_are_refused() -> None:
    with pytest.raises(InputError, match="head must be linear, got CSBA"):
        ScaledHead(CSBA(8, 3))
