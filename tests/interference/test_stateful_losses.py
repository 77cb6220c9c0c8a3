"""Losses with a state of their own: measuring with them leaves it alone, training goes on counting."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tailgrad.interference import Monitor, Update, class_gradients, measure
from tailgrad.interference.curvature import curvature
from tailgrad.losses import GALALoss, GroupDROLoss, SeesawLoss, frozen
from tailgrad.optim import SAM

COUNTS = [12, 6, 4]
Y = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
X = torch.randn(len(Y), 5, generator=torch.Generator().manual_seed(0))
LOSSES = {
    "gala": lambda: GALALoss(COUNTS, reduction="none"),
    "seesaw": lambda: SeesawLoss(COUNTS, reduction="none"),
    "dro": lambda: GroupDROLoss(COUNTS, reduction="none"),
}
FORMS: dict[str, Callable[[nn.Module], Any]] = {
    "module": lambda loss: loss,
    "lambda": lambda loss: lambda z, y: loss(z, y),
    "partial": lambda loss: functools.partial(loss.forward),
    "method": lambda loss: loss.forward,
}
TOOLS: dict[str, Callable[[nn.Module, Any], object]] = {
    "measure": lambda net, c: measure(net, [(X, Y)], "all", criterion=c),
    "effect": lambda net, c: measure(net, [(X, Y)], "all", criterion=c, update=_tiny(net)),
    "class_gradients": lambda net, c: class_gradients(net, [(X, Y)], c, "all"),
    "curvature": lambda net, c: curvature(net, [(X, Y)], criterion=c),
    "step": lambda net, c: Update.of_step(
        net, torch.optim.SGD(net.parameters(), 0.1), lambda m: c(m(X), Y).mean()
    ),
    "sharp step": lambda net, c: Update.of_step(
        net, SAM(net, torch.optim.SGD(net.parameters(), 0.1)), lambda m: (c(m(X), Y), Y)
    ),
}


def _tiny(net: nn.Module) -> Update:
    return Update({name: 1e-3 * torch.ones_like(p) for name, p in net.named_parameters()})


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def _state(loss: nn.Module) -> dict[str, Any]:
    return {key: value.tolist() for key, value in loss.state_dict().items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LOSSES)
def test_measuring_leaves_the_state_of_the_loss(name: str, form: str, tool: str) -> None:
    loss, net = LOSSES[name](), _net()
    before = _state(loss)
    TOOLS[tool](net, FORMS[form](loss))
    assert _state(loss) == before
    loss(net(X), Y)
    assert _state(loss) != before  # it goes on


class _WithLoss(nn.Module):
    """Shows every batch to a loss that is none of its modules, so that its mode says nothing about it."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.layers, self.shown = _net(), [loss]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        self.shown[0](logits, torch.zeros(len(x), dtype=torch.long))
        return logits


def test_a_monitored_step_counts_its_batch_once() -> None:
    states = []
    for is_watched in (False, True):
        loss = LOSSES["seesaw"]()
        net = _WithLoss(loss)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        monitor = Monitor(net, 3, every=1, parameters="all")
        for _ in range(2):
            if is_watched:
                monitor.begin(Y)
            loss(net(X), Y).mean().backward()
            optimizer.step()
            if is_watched:
                monitor.step_done()
        states.append(_state(loss))
        assert len(monitor.records) == 2 * is_watched
    assert states[0] == states[1]
    assert states[0]["seen"] != _state(LOSSES["seesaw"]())["seen"]


def test_a_loss_frozen_around_training_is_measured_all_the_same() -> None:
    net = _net()
    monitor, optimizer = Monitor(net, 3, every=1), torch.optim.SGD(net.parameters(), 0.1)
    with frozen(), monitor.watch(Y):
        nn.functional.cross_entropy(net(X), Y).backward()
        optimizer.step()
    assert monitor.records[0]["unknown"] == []
    assert monitor.records[0]["norm"]["0"] > 0


def test_a_pass_aside_before_the_training_pass_is_not_heard() -> None:
    net = _net()
    monitor, optimizer = Monitor(net, 3, every=1), torch.optim.SGD(net.parameters(), 0.1)
    with monitor.watch(Y):
        with frozen():
            nn.functional.cross_entropy(net(-X), Y).backward()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X), Y).backward()
        wanted = copy.deepcopy([p.grad for p in net[0].parameters()])
        optimizer.step()
    norm = torch.cat([g.flatten() for g in wanted if g is not None]).norm().item()
    assert monitor.records[0]["update_norm"] == pytest.approx(0.1 * norm, rel=1e-5)
    assert sum(monitor.records[0]["product"].values()) == pytest.approx(0.1 * norm**2, rel=1e-4)
