import pytest
import torch
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import Cosine
from tailgrad.heads.unit import unit
from tailgrad.losses import LDAMLoss


def test_logits_are_scaled_cosines_whatever_the_lengths() -> None:
    head, features = Cosine(6, 4, scale=16.0).double(), torch.randn(5, 6, dtype=torch.float64)
    expected = 16 * F.cosine_similarity(features[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(features), expected)
    torch.testing.assert_close(head(features * torch.rand(5, 1).double() * 1e6), expected)
    with torch.no_grad():
        head.weight *= torch.tensor([[1e-3], [1.0], [7.0], [1e3]])
    torch.testing.assert_close(head(features), expected)
    assert head.bias is None


def test_the_gradient_is_at_right_angles_to_the_features() -> None:
    features = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    Cosine(6, 4).double()(features)[:, 1].sum().backward()
    assert features.grad is not None
    assert features.grad.norm() > 0.1
    torch.testing.assert_close((features.grad * features).sum(1), torch.zeros(5).double(), atol=1e-9, rtol=0)


def test_zero_features_and_rows_are_safe() -> None:
    head, features = Cosine(6, 4), torch.zeros(2, 6, requires_grad=True)
    head(features).sum().backward()
    assert features.grad is not None
    assert features.grad.abs().max() < 1e3
    with torch.no_grad():
        head.weight[1] = 0
    assert head(torch.randn(3, 6))[:, 1].tolist() == [0, 0, 0]
    assert torch.autograd.gradcheck(unit, torch.randn(3, 4, dtype=torch.float64, requires_grad=True))


def test_the_scale_is_fixed_unless_it_learns() -> None:
    fixed, learnt = Cosine(6, 4), Cosine(6, 4, learn_scale=True)
    assert {n for n, _ in fixed.named_parameters()} == {"weight"}
    assert float(fixed.state_dict()["scale"]) == 30
    learnt(torch.randn(5, 6)).square().mean().backward()
    assert learnt.scale.grad != 0
    with pytest.raises(InputError, match=r"scale must be in \(0, inf\), got 0"):
        Cosine(6, 4, scale=0)


def test_ldam_takes_these_logits_at_their_extremes() -> None:
    head = Cosine(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
    logits = head(1e4 * torch.tensor([[1.0, 0.0], [-1.0, 1e-9]]))
    assert logits[:, 0].tolist() == [30, -30]
    assert LDAMLoss([10, 1])(logits, torch.tensor([0, 1])).isfinite()
