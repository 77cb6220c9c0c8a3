"""A monitor around optimisers that differentiate several times in one step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.engine import MonitoredStep, sharp_step
from tailgrad.engine.learner import Learner
from tailgrad.interference import Monitor, Update
from tailgrad.losses import SeesawLoss
from tailgrad.optim import SAM, AsymmetricSAM, ClassGradientOptimizer, PCGrad
from tailgrad.types import Batch

Y = torch.tensor([2, 0, 0, 3, 0, 2, 0, 3, 1, 0, 2, 0])
X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
COUNTS = [6, 1, 3, 2]
SHARE = torch.tensor(COUNTS) / 12
# what the loss at the weights gives each class, by variant
VARIANTS = {
    "sam": [1, 1, 1, 1],
    "scaled": [1, 1, 1, 1],
    "per_class": [1, 1, 1, 1],
    "focal_sam": [1, 1, 1, 1],
    "cc_sam": [1, 1, 1, 1],
    "imbsam": [1, 2, 1, 2],
    "direction": None,
}


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 4, bias=False)
    ).double()


def _sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)


def _sharp(net: nn.Module, variant: str) -> Any:
    last = list(net.children())[-1]
    options = {"imbsam": {"eta": 3}, "cc_sam": {"classifier": last}}.get(variant, {})
    return AsymmetricSAM(net, _sgd(net), COUNTS, rho=0.3, variant=variant, options=options)


def _closure(net: nn.Module) -> Callable[[], tuple[Tensor, Tensor]]:
    return lambda: (F.cross_entropy(net(X.double()), Y, reduction="none"), Y)


def _flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()]).clone()


def _contributions(net: nn.Module) -> Tensor:
    """Gradients of the classes' parts of the mean loss [K, P], dropout drawn as the next pass will."""
    state, buffers = torch.get_rng_state(), {k: v.clone() for k, v in net.named_buffers()}
    losses, rows = _closure(net)()[0] / len(Y), []
    torch.set_rng_state(state)
    for k in range(4):
        found = torch.autograd.grad(losses[k == Y].sum(), list(net.parameters()), retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in found]))
    for key, value in net.named_buffers():
        value.copy_(buffers[key])
    return torch.stack(rows)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sharp_step_is_measured_at_the_weights_against_the_update_applied(variant: str) -> None:
    watched, alone = _net(), _net()
    optimizer, plain = _sharp(watched, variant), _sharp(alone, variant)
    monitor = Monitor(watched, 4, every=1, parameters="4.*")  # no example is coupled to another behind it
    for step in range(13):  # through the renewed comparison at the tenth
        torch.manual_seed(step)
        before, rows = _flat(watched), _contributions(watched)[:, -32:]
        with monitor.watch(Y):
            optimizer.step(_closure(watched))
        torch.manual_seed(step)
        plain.step(_closure(alone))
        record, delta = monitor.records[-1], (before - _flat(watched))[-32:]
        weights = VARIANTS[variant] or (SHARE.max() / SHARE).tolist()
        for k, weight in enumerate(weights):
            own = rows[k]
            wanted = torch.dot(own, delta) / own.norm() / delta.norm()
            assert record["alignment"][str(k)] == pytest.approx(float(wanted), abs=1e-9)
            norms = record["norm"][str(k)] / record["norm"]["0"], own.norm() / rows[0].norm()
            assert norms[0] == pytest.approx(float(norms[1]) * weight / weights[0], rel=1e-9)
        assert record["update_norm"] == pytest.approx(float(delta.norm()), rel=1e-9)
    assert torch.equal(_flat(watched), _flat(alone))
    assert (len(monitor.records), monitor.skipped) == (13, 0)
    assert monitor.records[-1]["masked"] == monitor.records[-1]["unknown"] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_layers_before_batch_norm_add_up_and_none_is_given_up(variant: str) -> None:
    net = _net()
    optimizer, monitor = _sharp(net, variant), Monitor(net, 4, every=1, parameters="all")
    for step in range(12):
        torch.manual_seed(step)
        whole = _contributions(net).sum(0)
        before = _flat(net)
        with monitor.watch(Y):
            optimizer.step(_closure(net))
        if VARIANTS[variant] == [1, 1, 1, 1]:
            wanted = float(torch.dot(whole, before - _flat(net)))
            assert sum(monitor.records[-1]["product"].values()) == pytest.approx(wanted, rel=1e-6)
    assert len(monitor.records) == 12
    assert monitor.records[-1]["masked"] == monitor.records[-1]["unknown"] == []
    assert "Not measured" not in monitor.summary()


@pytest.mark.parametrize("variant", ["scaled", "per_class", "focal_sam", "cc_sam"])
def test_passes_that_repeat_the_first_do_not_count_its_logits_again(variant: str) -> None:
    found = []
    for name in ("sam", variant):
        torch.manual_seed(0)
        net = _net()
        monitor, optimizer = Monitor(net, 4, every=1), _sharp(net, name)
        torch.manual_seed(1)
        with monitor.watch(Y):
            optimizer.step(_closure(net))
        found.append(monitor.records[0]["pull"])
    assert found[1]["own"] == pytest.approx(found[0]["own"], rel=1e-9)
    assert found[1]["others"] == pytest.approx(found[0]["others"], rel=1e-9)


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.recurrent, self.head = nn.GRU(2, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.recurrent(x.view(len(x), 3, 2))[0][:, -1])
        return logits


@pytest.mark.parametrize("variant", ["sam", "scaled", "per_class"])
def test_parameters_that_take_masked_passes_are_measured_at_the_weights_too(variant: str) -> None:
    net = _Recurrent().double()
    monitor, optimizer = Monitor(net, 4, every=1, parameters="all"), _sharp(net, variant)
    for _ in range(3):
        before, rows = _flat(net), _contributions(net)
        with monitor.watch(Y):
            optimizer.step(_closure(net))
        wanted = (rows @ (before - _flat(net))).tolist()
        found = [monitor.records[-1]["product"][str(k)] for k in range(4)]
        assert found == pytest.approx(wanted, rel=1e-6)
    assert any(name.startswith("recurrent") for name in monitor.records[-1]["masked"])
    assert monitor.records[-1]["unknown"] == []


class _ForeignSAM:
    """As people write it: the closure runs the backward pass, the weights move in place between two calls."""

    def __init__(self, net: nn.Module) -> None:
        self.parameters, self.base = list(net.parameters()), _sgd(net)

    def step(self, closure: Callable[[], None]) -> None:
        self.base.zero_grad()
        closure()
        norm = torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None]).norm()
        moves = [0.3 * p.grad / norm for p in self.parameters if p.grad is not None]
        with torch.no_grad():
            torch._foreach_add_(self.parameters, moves)
        self.base.zero_grad()
        closure()
        with torch.no_grad():
            torch._foreach_sub_(self.parameters, moves)
        self.base.step()


@pytest.mark.parametrize("make", [_ForeignSAM, lambda net: torch.optim.LBFGS(net.parameters(), max_iter=3)])
def test_passes_of_others_at_moved_weights_are_not_taken_for_the_first(make: Callable[..., Any]) -> None:
    net = nn.Sequential(_net()[0], nn.Tanh(), nn.Linear(8, 4, dtype=torch.float64))
    optimizer, monitor = make(net), Monitor(net, 4, every=1, parameters="all")

    def closure() -> Tensor:
        net.zero_grad()
        loss = F.cross_entropy(net(X.double()), Y)
        loss.backward()
        return loss

    for _ in range(3):
        before = _flat(net)
        loss = F.cross_entropy(net(X.double()), Y)
        found = torch.autograd.grad(loss, list(net.parameters()))
        with monitor.watch(Y):
            optimizer.step(closure)
        wanted = torch.dot(torch.cat([g.flatten() for g in found]), before - _flat(net))
        assert sum(monitor.records[-1]["product"].values()) == pytest.approx(float(wanted), rel=1e-9)
    assert monitor.records[-1]["unknown"] == monitor.records[-1]["masked"] == []


def test_the_loop_of_the_package_is_monitored_and_its_loss_counts_each_batch_once() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    loss = SeesawLoss([3, 1], reduction="none")
    learner = Learner.plain(net, loss, lr=0.1)
    learner.optimizer = learner.fabric.setup_optimizers(SAM(net, _sgd(net)))
    step = MonitoredStep(sharp_step, Monitor(net, 2, every=1), [])
    before = loss.seen.clone()
    for _ in range(3):
        step(learner, Batch(torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 0, 0]), torch.arange(4)))
    assert [record["unknown"] for record in step.monitor.records] == [[], [], []]
    assert (loss.seen - before).tolist() == [9, 3]


# Update.of_step


OPTIMISERS: dict[str, Callable[[nn.Module], Any]] = {
    "sam": lambda net: SAM(net, _sgd(net), 0.3),
    "imbsam": lambda net: _sharp(net, "imbsam"),
    "cc_sam": lambda net: _sharp(net, "cc_sam"),
    "pcgrad": lambda net: ClassGradientOptimizer(net[:4], _sgd(net), PCGrad()),
    "plain": _sgd,
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_on_a_copy_is_the_real_next_step(name: str) -> None:
    net = _net()
    optimizer = OPTIMISERS[name](net)

    def step() -> None:
        losses, _ = _closure(net)()
        losses.mean().backward()
        optimizer.step(_closure(net) if name != "plain" else None)
        optimizer.zero_grad()

    step()  # momentum is filled
    state, random, held = _flat(net), torch.get_rng_state(), [b.clone() for b in net.buffers()]
    update = Update.of_step(net, optimizer, lambda twin: _closure(twin)())
    assert torch.equal(_flat(net), state)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(map(torch.equal, net.buffers(), held))
    if name == "plain":
        _closure(net)()[0].mean().backward()
        optimizer.step()
    else:
        optimizer.step(_closure(net))
    delta = torch.cat([update.delta[key].flatten() for key, _ in net.named_parameters()])
    torch.testing.assert_close(delta, state - _flat(net), rtol=0, atol=0)
    assert update.lr == 0.1


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda m: F.cross_entropy(m(X.double()), Y), r"what SAM asks of a closure, got a scalar \(closure"),
        (lambda m: (F.cross_entropy(m(X.double()), Y), Y), "loss must return a scalar tensor, got tuple"),
        (lambda m: (m(X.double()).sum(1) * torch.inf, Y), "loss must be finite, got"),
        (lambda _: (torch.ones(12, requires_grad=True), Y), "must be computed from the model it is given"),
    ],
)
def test_a_loss_that_does_not_suit_the_optimiser_is_named(loss: Any, message: str) -> None:
    net = _net()
    with pytest.raises(InputError, match=message):
        Update.of_step(net, SAM(net, _sgd(net)), loss)
