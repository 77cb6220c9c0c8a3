import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.loss import AsymmetricLossMultiLabel
from torch import Tensor
from torch.nn import functional as F

from tailgrad.losses import MultiLabelAsymmetricLoss

X, Y = torch.tensor([[2.0, -1.0, -4.0]], dtype=torch.float64), torch.tensor([[1, 0, 0]])


def _batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(5, 4, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), (torch.rand(5, 4, generator=generator) < 0.4).double()


def test_worked_numbers() -> None:
    assert MultiLabelAsymmetricLoss(reduction="sum")(X, Y).item() == pytest.approx(0.015698, abs=1e-6)
    plain = MultiLabelAsymmetricLoss(gamma_pos=0, gamma_neg=0, clip=0, reduction="sum")(X, Y)
    assert plain.item() == pytest.approx(0.458340, abs=1e-6)
    bce = F.binary_cross_entropy_with_logits(X, Y.double(), reduction="sum")
    torch.testing.assert_close(plain, bce)


@given(
    st.integers(0, 1000),
    st.sampled_from([0, 1, 0.5, 2]),
    st.sampled_from([0, 2.5, 4]),
    st.sampled_from([0, 0.05, 0.3]),
    st.booleans(),
)
def test_equals_timm_and_its_gradient(seed: int, pos: float, neg: float, clip: float, detach: bool) -> None:
    logits, target = _batch(seed)
    options = {"gamma_pos": pos, "gamma_neg": neg, "clip": clip}
    ours = MultiLabelAsymmetricLoss(**options, detach_focus=detach)(logits, target)
    loss = AsymmetricLossMultiLabel(**options, disable_torch_grad_focal_loss=detach).double()
    theirs = loss(logits, target) / (1 if hasattr(loss, "reduction") else len(logits))  # old ones sum
    # Recent versions of timm compute in single precision.
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-4, atol=1e-6)
    (mine,) = torch.autograd.grad(ours, logits)
    (other,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-3)


def test_easy_negatives_cost_nothing_and_hard_positives_keep_their_gradient() -> None:
    logits = torch.tensor([[-4.0, -1e4], [0.0, -30.0]], requires_grad=True)
    each = MultiLabelAsymmetricLoss(reduction="none")(logits, torch.tensor([[0, 0], [0, 1]]))
    each.sum().backward()
    assert logits.grad is not None
    assert each[0].item() == 0
    assert logits.grad[0].tolist() == [0, 0]
    assert logits.grad[1, 1].item() == pytest.approx(-1)


def test_any_type_of_zeros_and_ones_will_do() -> None:
    logits, target = _batch(0)
    values = {
        MultiLabelAsymmetricLoss()(logits, target.to(kind)).item() for kind in (torch.bool, torch.uint8)
    }
    assert values == {MultiLabelAsymmetricLoss()(logits, target).item()}
