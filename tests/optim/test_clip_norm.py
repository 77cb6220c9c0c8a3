"""Clipping by hand against the steps of every way of stepping."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.engine import Learner, combined_step, gap_step, sharp_step, supervised_step
from tailgrad.engine.balanced_step import balanced_step
from tailgrad.models import CifarResNet, Classifier
from tailgrad.optim import SAM, ClassGradientOptimizer, GapWeights, PCGrad, ShareBalancer
from tailgrad.optim.clip_norm import clip_norm
from tailgrad.types import Batch

BOUND = 0.01


def _learner(kind: str, bound: float) -> tuple[Learner, Callable[[Learner, Batch], Tensor]]:
    torch.manual_seed(0)
    net = Classifier(CifarResNet(blocks=1), nn.Linear(64, 3))
    each = {"reduction": "none"} if kind in ("sam", "pcgrad", "gap") else {}
    loss = nn.CrossEntropyLoss(**each)
    learner = Learner.plain(net, loss, lr=1.0)
    plain = clip_norm(torch.optim.SGD(net.parameters(), lr=1.0), bound)
    made: Any = plain
    if kind == "sam":
        made = SAM(net, plain)
    elif kind == "pcgrad":
        made = ClassGradientOptimizer(net.backbone.stem, plain, PCGrad())  # type: ignore[attr-defined]
    elif kind == "gap":
        loss.add_module("gap", GapWeights([1.0, 1.0, 1.0]))
    elif kind == "balanced":
        loss.add_module("balancer", ShareBalancer(num_classes=3))
    learner.optimizer = learner.fabric.setup_optimizers(made)
    steps = {"sam": sharp_step, "pcgrad": combined_step, "gap": gap_step, "balanced": balanced_step}
    return learner, steps.get(kind, supervised_step)


def _moved(kind: str, bound: float) -> Tensor:
    learner, step = _learner(kind, bound)
    before = torch.cat([p.detach().flatten().clone() for p in learner.network.parameters()])
    torch.manual_seed(1)
    step(learner, Batch(torch.rand(6, 3, 32, 32), torch.arange(6) % 3, torch.arange(6)))
    return torch.cat([p.detach().flatten() for p in learner.network.parameters()]) - before


@pytest.mark.parametrize("kind", ["plain", "sam", "pcgrad", "gap", "balanced"])
def test_the_weights_move_the_same_way_no_further_than_the_bound(kind: str) -> None:
    free, held = _moved(kind, 0.0), _moved(kind, BOUND)
    assert free.norm() > 10 * BOUND
    torch.testing.assert_close(held.norm(), torch.tensor(BOUND), rtol=1e-3, atol=0)
    torch.testing.assert_close(held, free * (BOUND / free.norm()), rtol=1e-2, atol=1e-6)


def test_zero_is_the_step_without_bit_for_bit() -> None:
    weights = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    for weight, optimizer in zip(
        weights, (torch.optim.Adam(weights[:1]), clip_norm(torch.optim.Adam(weights[1:]), 0.0)), strict=True
    ):
        weight.grad = torch.tensor([1e6, -2.0, 3.0])
        optimizer.step()
    assert torch.equal(*weights)
    assert not optimizer._optimizer_step_pre_hooks


@settings(max_examples=30, deadline=None)
@given(
    gradient=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=5),
    bound=st.floats(1e-3, 1e3),
)
def test_over_all_parameters_together(gradient: list[float], bound: float) -> None:
    weights = [nn.Parameter(torch.zeros(())) for _ in gradient]
    optimizer = clip_norm(torch.optim.SGD([{"params": [weight]} for weight in weights], lr=1.0), bound)
    for weight, value in zip(weights, gradient, strict=True):
        weight.grad = torch.tensor(value)
    optimizer.step()
    wanted = torch.tensor(gradient, dtype=torch.float64)
    wanted = -wanted * min(1.0, bound / max(float(wanted.norm()), 1e-12))
    torch.testing.assert_close(torch.stack(weights).detach().double(), wanted, rtol=1e-3, atol=1e-5)


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.clip_norm must be in"):
        clip_norm(torch.optim.SGD([nn.Parameter(torch.zeros(1))]), -1.0)
