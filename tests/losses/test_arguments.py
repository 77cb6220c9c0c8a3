from typing import Any

import pytest
import torch

import tailgrad.losses as losses
from tailgrad.checks import InputError
from tailgrad.losses.arguments import counted_classes, prepared, required_counts, set_reduction

POWERS = [
    ("AsymmetricLoss", {"gamma_pos": 0.5}),
    ("DiceLoss", {"alpha": 0.5}),
    ("DualFocalLoss", {"gamma": 0.5}),
    ("EncouragingLoss", {"le": 1.0}),
    ("GALALoss", {"margin": "printed", "scale_free": False, "start": 0.0, "lambda1": 1.2}),
    ("MultiLabelAsymmetricLoss", {"gamma_pos": 0.5, "gamma_neg": 0.5, "clip": 0.0}),
    ("DistributionBalancedLoss", {"gamma": 0.5}),
]


@pytest.mark.parametrize(("name", "options"), POWERS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e4])
def test_options_that_are_hard_to_differentiate_stay_finite(
    name: str, options: dict[str, Any], scale: float
) -> None:
    loss = getattr(losses, name)([3, 2, 1, 1], **options)
    signs = torch.tensor([[1, -1, 0, 0], [1, 1, -1, 0], [0, 0, 0, 1], [-1, -1, -1, 1]])
    logits = (scale * signs.bfloat16()).requires_grad_()
    for target in (torch.eye(4), torch.eye(4).flip(0)):
        value = loss(logits, target)
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_counts_reductions_and_logits() -> None:
    assert counted_classes(None) is None
    with pytest.raises(InputError, match=r"class_counts\[1\]=-2"):
        counted_classes([1, -2])
    with pytest.raises(InputError, match="given to XLoss, got None"):
        required_counts(None, "XLoss")
    with pytest.raises(InputError, match="got 'median'"):
        set_reduction("median")
    for name, options, over in [
        ("SupConLoss", {}, "anchors"),
        ("NTXentLoss", {}, "views"),
        ("DiceLoss", {}, "classes"),
    ]:
        with pytest.raises(InputError, match=f"'mean' or 'sum' over {over}, got 'none'"):
            getattr(losses, name)([1, 1], reduction="none", **options)
    assert prepared(torch.zeros(1, 2).double(), torch.tensor([1]), 2).dtype == torch.float64
    with pytest.raises(InputError, match="got 2"):
        prepared(torch.zeros(1, 2), torch.tensor([1]), 3)
