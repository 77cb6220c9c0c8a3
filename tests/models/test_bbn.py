from functools import partial

import pytest
import torch
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import CSBA, Linear
from tailgrad.models import BBN, CifarResNet, bbn_weight

SMALL = partial(CifarResNet, blocks=1)
FIRST, SECOND = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _model(head: type = Linear, **options: object) -> BBN:
    torch.manual_seed(0)
    return BBN(SMALL, lambda backbone: head(backbone.pooled, 3), **options)


@pytest.mark.parametrize(("epoch", "weight"), [(1, 1.0), (101, 0.75), (200, 0.009975)])
def test_the_weight_falls_as_a_parabola(epoch: int, weight: float) -> None:
    assert bbn_weight(epoch, 200) == pytest.approx(weight, abs=1e-12)


@pytest.mark.parametrize("epoch", [0, 201])
def test_the_weight_knows_its_epochs(epoch: int) -> None:
    with pytest.raises(InputError, match=rf"epoch must be in \[1, 200\], got {epoch}"):
        bbn_weight(epoch, 200)


@pytest.mark.parametrize("head", [Linear, CSBA])
def test_half_and_half_of_one_batch_is_inference(head: type) -> None:
    model = _model(head).eval()
    torch.testing.assert_close(model.mixed(FIRST, FIRST, 0.5), model(FIRST))
    torch.testing.assert_close(model.outputs(FIRST).logits, model(FIRST))
    assert model.outputs(FIRST).features.shape == (4, 128)


def test_mixed_features_are_twice_the_weighted_parts_side_by_side() -> None:
    model = _model().eval()
    backbone = model.backbone
    parts = [b.pool(b(backbone.shared(x))) for b, x in zip(backbone.copies, (FIRST, SECOND), strict=True)]
    side_by_side = 2 * torch.cat([0.3 * parts[0], 0.7 * parts[1]], 1)
    expected = F.linear(side_by_side, model.head.weight, model.head.bias)
    torch.testing.assert_close(model.mixed(FIRST, SECOND, 0.3), expected)


@pytest.mark.parametrize(("weight", "idle"), [(1.0, 1), (0.0, 0)])
def test_at_the_ends_one_branch_alone_decides_and_learns(weight: float, idle: int) -> None:
    model = _model()
    other = torch.rand_like(FIRST)
    model.eval()
    batches = [(FIRST, SECOND), (FIRST, other) if idle else (other, SECOND)]
    torch.testing.assert_close(*[model.mixed(*batch, weight) for batch in batches])
    model.train().mixed(FIRST, SECOND, weight).square().sum().backward()
    sums = [sum(float(p.grad.abs().sum()) for p in branch.parameters()) for branch in model.backbone.copies]
    assert sums[idle] == 0
    assert sums[1 - idle] > 0


def test_each_branch_owns_the_last_stage_or_what_is_asked() -> None:
    assert _model().backbone.share_until == "stage2"
    model = BBN(partial(CifarResNet, blocks=2), lambda b: Linear(b.pooled, 3), share_until="stage3.0")
    assert {name for name, _ in model.backbone.copies[1].named_children() if name == "stage3"} == {"stage3"}
    assert {n.split(".")[1] for n, _ in model.backbone.copies[1].named_parameters()} == {"1"}


def test_small_images_are_enlarged_as_in_a_call() -> None:
    model = _model().eval()
    torch.testing.assert_close(
        model.mixed(FIRST[..., :8, :8], FIRST[..., :8, :8], 0.5), model(FIRST[..., :8, :8])
    )


@pytest.mark.parametrize(
    ("number", "weight", "message"), [(3, 0.5, "got 4 and 3"), (4, 1.5, r"l must be in \[0, 1\]")]
)
def test_bad_batches(number: int, weight: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _model().mixed(FIRST, SECOND[:number], weight)
