"""Fused heads against the heads themselves, every one there is, in double precision."""

import pytest
import torch
from torch import Tensor, nn

from tailgrad.heads import ConflictBranches, Linear, nearest_class_mean
from tailgrad.heads.names import head_class, head_names
from tailgrad.heads.scaled import ScaledHead
from tailgrad.models import create_model
from tailgrad.models.multi_expert import ExpertHeads
from tailgrad.ship.fused import PooledLinear, fused

C, K = 16, 5
UNCHANGED = {"class_heads", "cosine", "etf", "linear"}


def settled(head: nn.Module) -> nn.Module:
    """Evaluation mode, double precision, and no weight left where it began."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return head.double().eval()


def features(name: str = "csba") -> Tensor:
    shape = (6, C, 3, 4) if getattr(head_class(name), "takes", "") == "map" else (6, C)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", head_names())
def test_every_head_is_fused_or_passes_through_unchanged(name: str) -> None:
    head = settled(head_class(name)(C, K))
    small = fused(head)
    torch.testing.assert_close(small(features(name)), head(features(name)), atol=1e-10, rtol=1e-10)
    assert (type(small) is type(head)) == (name in UNCHANGED)
    assert not small.training
    assert not any(parameter.requires_grad for parameter in small.parameters())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("csba", {"gates": "shared"}),
        ("csba", {"gates": "frozen", "branches": 1}),
        ("csba", {"detach_gates": True, "branches": 4, "reduction": 4}),
        ("branch_sum", {"relu": True}),
        ("branch_softmax", {"rescale": True}),
        ("se_gate", {"like": "conflict_branches"}),
        ("conflict_branches", {"groups": 2}),
    ],
)
def test_options_of_heads_are_kept(name: str, options: dict[str, object]) -> None:
    head = settled(head_class(name)(C, K, **options))
    torch.testing.assert_close(fused(head)(features()), head(features()), atol=1e-10, rtol=1e-10)


def test_classes_keep_the_gate_of_their_group() -> None:
    head = ConflictBranches(C, K, groups=3)
    head.assign([0, 2, 1, 2, 0])
    settled(head)
    small = fused(head)
    torch.testing.assert_close(small(features()), head(features()), atol=1e-10, rtol=1e-10)
    assert len(small.excite) == 3
    assert len(fused(settled(ConflictBranches(C, K, groups=3))).excite) == 1, "only one gate is in use"


def test_branches_become_one_linear_layer_with_the_summed_weights() -> None:
    head = settled(head_class("branch_sum")(C, K))
    small = fused(head)
    assert isinstance(small, PooledLinear)
    torch.testing.assert_close(small.weight, sum(branch.weight for branch in head.branches))
    assert sum(p.numel() for p in small.parameters()) == K * (C + 1)


def test_heads_made_of_trained_ones_are_fused_too() -> None:
    scaled = ScaledHead(Linear(C, K))
    with torch.no_grad():
        scaled.scales.copy_(torch.rand(K))
    pooled = torch.randn(20, C)
    near = nearest_class_mean(pooled, torch.arange(20) % K, K, "centred", near="distance")
    experts = ExpertHeads([head_class("csba")(C // 2, K), head_class("csba")(C // 2, K)])
    for head in (scaled, near, nearest_class_mean(pooled, torch.arange(20) % K, K), experts):
        head = head.double().eval()
        torch.testing.assert_close(fused(head)(features("linear")), head(features("linear")))


def test_the_head_itself_is_left_as_it_is() -> None:
    head = head_class("csba")(C, K).train()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    small = fused(head)
    small.classify.weight.data.zero_()
    assert head.training
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    linear = Linear(C, K)
    fused(linear).weight.data.zero_()
    assert linear.weight.any()


def test_a_network_of_experts_gives_the_same_logits() -> None:
    model = create_model("resnet8", K, head="csba", architecture="multi_expert").double().eval()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    wanted = model(images)
    model.head = fused(model.head)
    torch.testing.assert_close(model(images), wanted, atol=1e-10, rtol=1e-10)
