"""SAM in a loop: what a step leaves alone, accumulation, clipping, precision, resume, bad input."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn import functional as F
from torch.optim import LBFGS, SGD, Adam, Optimizer

from tailgrad.checks import InputError
from tailgrad.losses.frozen import may_update
from tailgrad.optim import SAM, AsymmetricSAM, FocalSAM
from tailgrad.optim.asymmetric_sam import VARIANTS

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 0, 1, 0, 0, 2, 0, 0, 1, 1, 0, 2])
COUNTS = [50, 20, 5]
Closure = Callable[[], tuple[Tensor, Tensor]]


class _Net(nn.Module):
    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8) if norm else nn.Tanh(), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.backbone(x))
        return result


def _closure(net: nn.Module, rows: slice = slice(None)) -> Closure:
    return lambda: (F.cross_entropy(net(X[rows]), Y[rows], reduction="none"), Y[rows])


def _base(net: nn.Module) -> Optimizer:
    return SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)


def _flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def _gradients(net: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "imbsam"])
@pytest.mark.parametrize("base", [_base, lambda net: Adam(net.parameters(), lr=0.01)])
def test_radius_zero_is_the_base_optimizer_bit_for_bit(
    variant: str, base: Callable[[nn.Module], Optimizer]
) -> None:
    net, plain, calls = _Net(), _Net(), []
    optimizer = AsymmetricSAM(net, base(net), COUNTS, rho=0.0, variant=variant)
    other = base(plain)
    for _ in range(4):
        loss = optimizer.step(lambda: (calls.append(1), _closure(net)())[1])
        other.zero_grad()
        expected = F.cross_entropy(plain(X), Y)
        expected.backward()
        other.step()
        torch.testing.assert_close(loss, expected.detach())
    assert len(calls) == 4
    assert torch.equal(_flat(net), _flat(plain))


def test_one_dimension() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimizer = SAM(layer, SGD(layer.parameters(), lr=1e-9), rho=0.05)
    optimizer.step(lambda: (layer.weight.flatten().square(), torch.tensor([0])))  # a w^2 / 2 with a = 2
    assert float(layer.weight.grad) == pytest.approx(2.1)
    optimizer.rho = 0.0  # a schedule may set it
    optimizer.step(lambda: (layer.weight.flatten().square(), torch.tensor([0])))
    assert float(layer.weight.grad) == pytest.approx(2.0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_gradient_of_zero_moves_nothing(variant: str) -> None:
    net = _Net()
    before = _flat(net)
    optimizer = AsymmetricSAM(net, SGD(net.parameters(), lr=1.0), COUNTS, variant=variant)
    optimizer.step(lambda: (net(X).sum(1) * 0, Y))
    assert torch.equal(_flat(net), before)
    assert optimizer.skipped == 0


def test_the_weights_come_back_bit_for_bit_also_after_an_error() -> None:
    net = _Net()
    optimizer = SAM(net, _base(net), rho=1e3)  # where subtracting eps again would lose digits
    before, statistics, calls = _flat(net), [], []

    def closure() -> tuple[Tensor, Tensor]:
        result = _closure(net)()
        calls.append(_flat(net))
        if len(calls) == 2:
            raise KeyboardInterrupt
        statistics.extend(b.clone() for b in net.buffers())
        return result

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert float((calls[1] - before).norm()) == pytest.approx(1e3, rel=1e-4)
    assert torch.equal(_flat(net), before)
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), statistics, strict=True))


class _Counting(nn.Module):
    """Cross-entropy that counts its examples, as losses with state do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if may_update(self):
            self.seen += len(target)
        return F.cross_entropy(logits, target, reduction="none")


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_with_state_and_running_statistics_move_once_a_step(variant: str) -> None:
    net, loss = _Net(), _Counting()
    optimizer = AsymmetricSAM(net, _base(net), COUNTS, variant=variant)
    for _ in range(3):
        optimizer.step([lambda: (loss(net(X[:8]), Y[:8]), Y[:8]), lambda: (loss(net(X[8:]), Y[8:]), Y[8:])])
    assert int(loss.seen) == 36
    assert int(net.backbone[1].num_batches_tracked) == 6
    assert net.backbone[1].momentum == 0.1
    assert may_update(loss)


@pytest.mark.parametrize("variant", VARIANTS)
def test_several_closures_make_one_batch(variant: str) -> None:
    def trained(parts: list[slice]) -> tuple[Tensor, Tensor]:
        net = _Net(norm=False).double()
        optimizer = AsymmetricSAM(net, _base(net), COUNTS, rho=0.3, variant=variant)
        closures = [
            lambda s=s: (F.cross_entropy(net(X[s].double()), Y[s], reduction="none"), Y[s]) for s in parts
        ]
        losses = [optimizer.step(iter(closures)) for _ in range(3)]
        return _flat(net), torch.stack(losses)

    whole = trained([slice(0, 12)])
    torch.testing.assert_close(
        trained([slice(0, 5), slice(5, 9), slice(9, 12)]), whole, rtol=1e-9, atol=1e-12
    )


def test_only_the_second_gradient_is_clipped() -> None:
    net, at = _Net(), []
    optimizer = SAM(net, SGD(net.parameters(), lr=1.0), rho=0.5, max_norm=1e-3)
    before = _flat(net)
    optimizer.step(lambda: (at.append(_flat(net)), _closure(net)())[1])
    assert float((at[1] - at[0]).norm()) == pytest.approx(0.5, rel=1e-4)
    assert float((_flat(net) - before).norm()) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("variant", ["sam", "focal_sam"])
def test_a_resumed_run_ends_where_an_unbroken_one_does(variant: str) -> None:
    def made(net: nn.Module) -> SAM:
        return AsymmetricSAM(net, Adam(net.parameters(), lr=0.01), COUNTS, variant=variant)

    net = _Net()
    optimizer = made(net)
    for _ in range(3):
        optimizer.step(_closure(net))
    other = copy.deepcopy(net)
    resumed = made(other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    twin, copied = copy.deepcopy((net, optimizer))
    assert resumed.param_groups is resumed.base_optimizer.param_groups
    for _ in range(3):
        optimizer.step(_closure(net))
    for again, model in ((resumed, other), (copied, twin)):
        assert not torch.equal(_flat(model), _flat(net))  # stepping one leaves the others alone
        for _ in range(3):
            again.step(_closure(model))
        assert torch.equal(_flat(model), _flat(net))


def test_the_state_is_the_base_optimizers() -> None:
    net = _Net()
    optimizer = SAM(net, _base(net))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step(_closure(net))
    schedule.step()
    bare = _base(net)
    bare.load_state_dict(optimizer.state_dict())
    assert bare.param_groups[0]["lr"] == 0.05
    optimizer.load_state_dict(_base(net).state_dict())
    assert optimizer.base_optimizer.param_groups[0]["lr"] == 0.1


def test_frozen_and_unused_parameters_and_those_of_a_loss() -> None:
    net, scale = _Net(), nn.Parameter(torch.ones(()))
    net.backbone[0].weight.requires_grad_(False)
    net.spare = nn.Parameter(torch.ones(2))
    before = net.backbone[0].weight.clone()
    optimizer = SAM(net, SGD([*net.parameters(), scale], lr=0.1))
    optimizer.step(
        lambda: (scale * _closure(net)()[0], F.one_hot(Y, 3).float())
    )  # soft targets are fine here
    assert torch.equal(net.backbone[0].weight, before)
    assert net.backbone[0].weight.grad is net.spare.grad is None
    assert float(scale.detach()) < 1


# Precision


@pytest.mark.parametrize("outside", [False, True])
def test_autocast_in_the_closure_or_around_the_step(outside: bool) -> None:
    net, losses = _Net(norm=False), []

    def closure() -> tuple[Tensor, Tensor]:
        with nullcontext() if outside else torch.autocast("cpu", torch.bfloat16):
            logits = net(X)
        assert logits.dtype == torch.bfloat16
        each = F.cross_entropy(logits.float(), Y, reduction="none")
        losses.append(float(each.detach().mean()))
        return each, Y

    optimizer = SAM(net, SGD(net.parameters(), lr=0.0), rho=1.0)
    with torch.autocast("cpu", torch.bfloat16, enabled=outside), torch.no_grad():
        optimizer.step(closure)
    assert losses[1] > 1.3 * losses[0]  # not the weights cast before


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_scaler_changes_nothing_but_the_scale(variant: str) -> None:
    found = []
    for scaler in (None, GradScaler("cpu", init_scale=2.0**12), GradScaler("cpu", enabled=False)):
        net = _Net()
        optimizer = AsymmetricSAM(
            net, _base(net), COUNTS, rho=0.1, variant=variant, max_norm=0.5, scaler=scaler
        )
        for _ in range(3):
            optimizer.step(_closure(net))
        found.append(_flat(net))
    torch.testing.assert_close(found[1], found[0])
    assert torch.equal(found[2], found[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_scaled_gradient_that_overflows_skips_the_step(variant: str) -> None:
    net = _Net()
    scaler = GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
    optimizer = AsymmetricSAM(net, _base(net), COUNTS, variant=variant, scaler=scaler)
    before = _flat(net)
    optimizer.step(lambda: (1e3 * _closure(net)()[0], Y))
    assert optimizer.skipped == 1
    assert scaler.get_scale() == 2.0**126
    assert torch.equal(_flat(net), before)
    scaler.update(2.0**10)
    optimizer.step(_closure(net))
    assert (optimizer.skipped, scaler.get_scale()) == (1, 2.0**11)
    assert not torch.equal(_flat(net), before)


def test_a_gradient_that_is_not_finite_is_not_applied() -> None:
    net = _Net()
    before, optimizer = _flat(net), SAM(net, _base(net))
    with pytest.warns(RuntimeWarning, match=r"not finite although the loss is \(0\).* 1 steps skipped"):
        optimizer.step(lambda: ((net(X) * 0).sum(1).sqrt(), Y))
    with pytest.warns(RuntimeWarning, match=r"the loss is nan in step 2: the weights stay.* skipped") as said:
        loss = optimizer.step(lambda: (_closure(net)()[0] * float("nan"), Y))
    assert said[0].filename == __file__
    assert loss.isnan()
    optimizer.step(lambda: (_closure(net)()[0] * float("inf"), Y))  # once is enough
    assert optimizer.skipped == 3
    assert torch.equal(_flat(net), before)


# Bad input


def test_arguments_of_another_kind_are_refused() -> None:
    net = _Net()
    cases: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((net, SGD), {}, "base_optimizer must be a built torch optimiser"),
        ((X, _base(net)), {}, "model must be a plain module, got Tensor"),
        ((_Net(), _base(net)), {}, "base_optimizer must train parameters of model, got 6 of which none is"),
        ((net, LBFGS(net.parameters())), {}, "base_optimizer must step on gradients .* got LBFGS"),
        ((net, _base(net), -0.1), {}, r"rho must be in \[0, inf\], got -0.1"),
        ((net, _base(net)), {"max_norm": 0}, "max_norm must be in"),
        ((net, _base(net)), {"rule": FocalSAM}, "rule must be a built rule"),
    ]
    for arguments, options, words in cases:
        with pytest.raises(InputError, match=words):
            SAM(*arguments, **options)


@pytest.mark.parametrize(
    ("closure", "words"),
    [
        (None, "closure must be a function that returns .* got None"),
        ([], r"closure must be a function .* got \[\]"),
        ([lambda: None, 3], "closure must be a function"),
        ((X, Y), "closure must be a function .* got tuple with Tensor; call step"),
        (X, "closure must be a function .* got Tensor with Tensor; call step"),
        (lambda: X, r"closure must return \(losses \[N\], target \[N\]\), got Tensor"),
        (lambda: (X.mean(), Y), r"losses must be one number an example \[N\], got \[\]"),
        (lambda: (X.mean(1), Y), "losses must have a graph, got 12 numbers"),
        (lambda: (X.mean(1).requires_grad_(), Y[:5]), r"target must have 12 rows, .* got \[5\]"),
    ],
)
def test_closures_that_do_not_fit(closure: Any, words: str) -> None:
    net = _Net()
    with pytest.raises(InputError, match=words):
        SAM(net, _base(net)).step(closure)


def test_a_batch_that_changes_and_a_radius_that_turns_negative() -> None:
    net, sizes = _Net(), iter((12, 5))
    optimizer = SAM(net, _base(net))
    before = _flat(net)
    with pytest.raises(InputError, match=r"the same examples .* got targets \[12\] and then \[5\]"):
        optimizer.step(lambda: _closure(net, slice(next(sizes)))())
    assert torch.equal(_flat(net), before)
    optimizer.rho = -1.0
    with pytest.raises(InputError, match="rho must be in"):
        optimizer.step(_closure(net))
