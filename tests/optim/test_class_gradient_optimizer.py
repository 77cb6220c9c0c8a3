"""The optimiser that steps along combined class gradients, in a plain loop."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer

from tailgrad.checks import InputError
from tailgrad.interference.masked import masked_gradients
from tailgrad.optim import MGDA, PCNGD, CAGrad, ClassGradientOptimizer, Combiner, GradNorm, PCGrad, UPGrad

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2])


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.backbone(x))
        return result


class _Mean(Combiner):
    def weights(self, gram: Any) -> Any:
        return gram[0] * 0 + 1 / len(gram)


def _closure(net: nn.Module, target: Tensor = Y) -> Callable[[], tuple[Tensor, Tensor]]:
    return lambda: (F.cross_entropy(net(X), target, reduction="none"), target)


def _flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def _trained(steps: int, make: Callable[[_Net], Optimizer], closure: bool = True) -> Tensor:
    net = _Net()
    optimizer = make(net)
    for _ in range(steps):
        if closure:
            optimizer.step(_closure(net))  # type: ignore[arg-type]
        else:
            optimizer.zero_grad()
            F.cross_entropy(net(X), Y).backward()
            optimizer.step()
    return _flat(net)


def _base(net: nn.Module) -> Optimizer:
    return SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)


@pytest.mark.parametrize("part", ["all", "backbone"])
def test_the_mean_under_the_batch_prior_is_ordinary_training(part: str) -> None:
    def make(net: _Net) -> Optimizer:
        combined = net if part == "all" else net.backbone
        return ClassGradientOptimizer(combined, _base(net), _Mean(), prior="batch")

    torch.testing.assert_close(_trained(5, make), _trained(5, _base, closure=False), rtol=1e-4, atol=1e-5)


def test_the_mean_under_the_uniform_prior_is_class_balanced_training() -> None:
    made = _trained(1, lambda net: ClassGradientOptimizer(net.backbone, SGD(net.parameters(), 0.1), _Mean()))
    net = _Net()
    losses, _ = _closure(net)()
    balanced = torch.stack([losses[c == Y].mean() for c in range(3)]).mean()
    gradients = torch.autograd.grad(balanced, list(net.parameters()))
    expected = _flat(net) - 0.1 * torch.cat([g.flatten() for g in gradients])
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("combiner", [PCNGD(), UPGrad(), CAGrad(), MGDA(), PCGrad(seed=0)])
@pytest.mark.parametrize("prior", ["uniform", "batch"])
def test_grad_holds_the_combined_rows(combiner: Combiner, prior: str) -> None:
    net = _Net()
    rows, _ = masked_gradients(*_closure(net)(), list(net.parameters()))
    shares = torch.tensor([7.0, 3.0, 2.0]) / 12 * 3 if prior == "batch" else torch.ones(3)
    expected = copy.deepcopy(combiner)(shares[:, None] * rows) if not _is_random(combiner) else None
    optimizer = ClassGradientOptimizer(net, SGD(net.parameters(), lr=0.0), combiner, prior=prior)
    loss = optimizer.step(_closure(net))
    written = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    assert not loss.requires_grad
    if expected is not None:
        torch.testing.assert_close(written, expected, rtol=1e-4, atol=1e-6)
    assert float(written.norm()) > 0


def _is_random(combiner: Combiner) -> bool:
    return isinstance(combiner, PCGrad)


def test_the_loss_returned_is_the_mean_of_the_batch() -> None:
    net = _Net()
    optimizer = ClassGradientOptimizer(net, _base(net), MGDA())
    expected = F.cross_entropy(_Net()(X), Y)
    with torch.no_grad():  # the closure runs with gradients all the same
        torch.testing.assert_close(optimizer.step(_closure(net)), expected.detach())


def test_upgrad_lowers_the_loss_of_every_class() -> None:
    net = _Net()
    optimizer = ClassGradientOptimizer(net, SGD(net.parameters(), lr=0.01), UPGrad())

    def by_class() -> Tensor:
        losses, _ = _closure(net)()
        return torch.stack([losses[c == Y].mean() for c in range(3)]).detach()

    before = by_class()
    optimizer.step(_closure(net))
    assert (by_class() < before).all()


def test_classes_absent_from_the_batch_take_no_part() -> None:
    net = _Net()
    target = Y.clamp(max=1) * 2  # class 1 is absent
    rows, classes = masked_gradients(*_closure(net, target)(), list(net.parameters()))
    optimizer = ClassGradientOptimizer(net, SGD(net.parameters(), lr=0.1), MGDA())
    before = _flat(net)
    optimizer.step(_closure(net, target))
    assert classes.tolist() == [0, 2]
    torch.testing.assert_close(_flat(net), before - 0.1 * MGDA()(rows), rtol=1e-4, atol=1e-6)


def test_frozen_and_unused_parameters() -> None:
    net = _Net()
    net.backbone[0].weight.requires_grad_(False)
    net.spare = nn.Parameter(torch.ones(2))
    optimizer = ClassGradientOptimizer(net.backbone, SGD(net.parameters(), lr=0.1), MGDA())
    before = net.backbone[0].weight.clone()
    optimizer.step(_closure(net))
    assert torch.equal(net.backbone[0].weight, before)
    assert net.backbone[0].weight.grad is None
    assert net.spare.grad is None


def test_the_order_of_parameters_given_does_not_matter() -> None:
    made = [
        _trained(2, lambda net, turn=turn: ClassGradientOptimizer(turn(net), _base(net), MGDA()))
        for turn in (lambda net: net, lambda net: list(net.parameters())[::-1])
    ]
    torch.testing.assert_close(*made)


# An optimiser like any other


def test_schedulers_set_the_rate_and_zero_grad_clears() -> None:
    net = _Net()
    optimizer = ClassGradientOptimizer(net, _base(net), PCGrad(seed=0))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    rates = []
    for _ in range(3):
        rates.append(optimizer.base_optimizer.param_groups[0]["lr"])
        optimizer.step(_closure(net))
        schedule.step()
    optimizer.zero_grad()
    assert rates == pytest.approx([0.1, 0.05, 0.025])
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("base", [_base, lambda net: Adam(net.parameters(), lr=0.01)])
def test_a_resumed_run_ends_where_an_unbroken_one_does(base: Callable[[nn.Module], Optimizer]) -> None:
    def make(net: _Net, seed: int) -> ClassGradientOptimizer:
        return ClassGradientOptimizer(net, base(net), PCGrad(seed=seed))

    unbroken = _trained(6, lambda net: make(net, 7))
    net = _Net()
    first = make(net, 7)
    for _ in range(3):
        first.step(_closure(net))
    second = make(net, 99)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.param_groups is second.base_optimizer.param_groups
    for _ in range(3):
        second.step(_closure(net))
    assert torch.equal(_flat(net), unbroken)


def test_the_state_of_a_bare_optimizer_loads() -> None:
    net = _Net()
    bare = SGD(net.parameters(), lr=0.3)
    optimizer = ClassGradientOptimizer(net, _base(net), PCGrad(seed=0))
    optimizer.load_state_dict(bare.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.3


def test_a_copy_steps_alone() -> None:
    net = _Net()
    optimizer = ClassGradientOptimizer(net, _base(net), MGDA())
    optimizer.step(_closure(net))
    other, twin = copy.deepcopy((net, optimizer))
    before = _flat(net)
    assert twin.param_groups is twin.base_optimizer.param_groups
    assert twin.param_groups[0]["params"][0] is next(other.parameters())
    optimizer.step(_closure(net))
    assert torch.equal(_flat(other), before)


def test_gradients_can_be_clipped_before_the_step() -> None:
    net = _Net()
    base = SGD(net.parameters(), lr=1.0)
    base.register_step_pre_hook(lambda *_: [nn.utils.clip_grad_norm_(net.parameters(), 1e-3), None][1])
    before = _flat(net)
    ClassGradientOptimizer(net, base, PCNGD()).step(_closure(net))
    assert float((_flat(net) - before).norm()) == pytest.approx(1e-3, rel=1e-2)


def test_param_groups_can_be_added() -> None:
    net = _Net()
    base = SGD(net.backbone.parameters(), lr=0.1)
    optimizer = ClassGradientOptimizer(net, base, MGDA())
    optimizer.add_param_group({"params": net.head.parameters(), "lr": 0.5})
    before = net.head.weight.clone()
    optimizer.step(_closure(net))
    assert base.param_groups[1]["lr"] == 0.5
    assert not torch.equal(net.head.weight, before)


def test_works_under_bfloat16_autocast() -> None:
    net = _Net()
    optimizer = ClassGradientOptimizer(net, _base(net), UPGrad())

    def closure() -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(X)
        return F.cross_entropy(logits.float(), Y, reduction="none"), Y

    losses = [float(optimizer.step(closure)) for _ in range(20)]
    assert losses[-1] < 0.7 * losses[0]


def test_any_function_of_the_rows_is_a_combiner() -> None:
    def make(combiner: Callable[[Tensor], Tensor]) -> Callable[[_Net], Optimizer]:
        return lambda net: ClassGradientOptimizer(net, _base(net), combiner)

    torch.testing.assert_close(_trained(3, make(lambda rows: rows.mean(0))), _trained(3, make(_Mean())))
    net = _Net()
    optimizer = ClassGradientOptimizer(net, _base(net), lambda rows: rows.sum(0))
    assert optimizer.state_dict()["combiner"] == {}
    with pytest.raises(InputError, match=r"combiner must return \[91\] numbers, got \[3, 91\]"):
        ClassGradientOptimizer(net, _base(net), lambda rows: rows).step(_closure(net))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_labels_of_any_integer_type(dtype: torch.dtype) -> None:
    net = _Net()
    optimizer = ClassGradientOptimizer(net.backbone, _base(net), GradNorm(3))
    before = _flat(net)
    optimizer.step(lambda: (F.cross_entropy(net(X), Y, reduction="none"), Y.to(dtype)))
    assert not torch.equal(_flat(net), before)


# Bad input


def test_arguments_of_another_kind_are_refused() -> None:
    net = _Net()
    with pytest.raises(InputError, match="base_optimizer must be a built torch optimiser"):
        ClassGradientOptimizer(net, SGD, MGDA())  # type: ignore[arg-type]
    for combiner in (MGDA, "mgda"):
        with pytest.raises(InputError, match="combiner must be a built Combiner or a function"):
            ClassGradientOptimizer(net, _base(net), combiner)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="prior must be a known name, got 'unifrom'; did you mean 'uniform'"):
        ClassGradientOptimizer(net, _base(net), MGDA(), prior="unifrom")
    with pytest.raises(InputError, match="combined must hold parameters of base_optimizer, got 6 of which"):
        ClassGradientOptimizer(_Net(), _base(net), MGDA())


def test_a_closure_is_needed_and_returns_a_pair() -> None:
    net = _Net()
    optimizer = ClassGradientOptimizer(net, _base(net), MGDA())
    with pytest.raises(InputError, match="closure must be a function that returns .* got None"):
        optimizer.step()
    with pytest.raises(InputError, match="closure must be a function .* got tuple; call step"):
        optimizer.step((X, Y))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="closure must return .* got Tensor"):
        optimizer.step(lambda: F.cross_entropy(net(X), Y))  # type: ignore[arg-type,return-value]
    with pytest.raises(InputError, match="losses must be one number an example"):
        optimizer.step(lambda: (F.cross_entropy(net(X), Y), Y))


def test_an_optimiser_that_runs_the_network_itself_is_refused() -> None:
    net = _Net()
    with pytest.raises(InputError, match="base_optimizer must step on gradients .* got LBFGS"):
        ClassGradientOptimizer(net, torch.optim.LBFGS(net.parameters()), MGDA())


@pytest.mark.parametrize("when", [0, 2])
def test_a_class_without_a_logit_is_refused(when: int) -> None:
    net, batches = _Net(), [Y, Y, Y]
    optimizer = ClassGradientOptimizer(net, _base(net), MGDA())
    width = net(X).shape[1]
    batches[when] = Y.where(Y.max() != Y, width)
    losses = F.cross_entropy
    for batch in batches[:when]:
        optimizer.step(lambda batch=batch: (losses(net(X), batch, reduction="none"), batch))
    before = _flat(net)
    with pytest.raises(InputError, match=rf"target must be below the {width} logits .* got {width}; number"):
        optimizer.step(lambda: (losses(net(X), Y, reduction="none"), batches[when]))
    assert torch.equal(_flat(net), before)
    assert not net._forward_hooks


def test_indices_of_anything_else_go_with_a_list_of_parameters() -> None:
    net = _Net()
    for combined in (list(net.parameters()), net.backbone):
        optimizer = ClassGradientOptimizer(combined, _base(net), MGDA())
        optimizer.step(lambda: (F.cross_entropy(net(X), Y, reduction="none"), Y + 50))


def test_nothing_changes_on_a_bad_batch() -> None:
    net = _Net()
    optimizer = ClassGradientOptimizer(net, _base(net), MGDA())
    before = _flat(net)
    with pytest.raises(InputError, match=r"losses must be finite, got losses\[0\]=nan"):
        optimizer.step(lambda: (F.cross_entropy(net(X), Y, reduction="none") * float("nan"), Y))
    assert torch.equal(_flat(net), before)


# GradNorm


def _weighted_norms(combiner: GradNorm, rows: Tensor) -> Tensor:
    gram = (rows @ rows.T).double().numpy()
    weights = torch.from_numpy(combiner.row_weights(gram))
    return weights * rows.norm(dim=1)


def test_grad_norm_without_force_equalises_lengths() -> None:
    combiner = GradNorm(3, alpha=0.0, rate=0.01)
    rows = torch.diag(torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64))
    for _ in range(1500):
        combiner.observe(torch.arange(3), torch.tensor([1.0, 2.0, 3.0]))
        lengths = _weighted_norms(combiner, rows)
    assert float(lengths.max() / lengths.min()) < 1.1


def test_grad_norm_of_identical_classes_keeps_equal_weights() -> None:
    combiner = GradNorm(3, scale="published")
    row = torch.ones(3, 4)
    for _ in range(50):
        combiner.observe(torch.arange(3), torch.tensor([0.7, 0.7, 0.7]))
        direction = combiner(row)
    torch.testing.assert_close(direction, row.sum(0))


def test_grad_norm_lengthens_the_class_that_lags() -> None:
    combiner = GradNorm(2, alpha=1.5)
    combiner.observe(torch.arange(2), torch.tensor([1.0, 1.0]))
    for _ in range(300):
        combiner.observe(torch.arange(2), torch.tensor([0.2, 0.8]))
        lengths = _weighted_norms(combiner, torch.eye(2, dtype=torch.float64))
    # The targets stand as r^1.5 with r = .2 : .8, so the lengths as 1 : 8.
    assert float(lengths[1] / lengths[0]) == pytest.approx(8, rel=0.15)


def test_grad_norm_in_the_optimizer_with_absent_classes_and_resume() -> None:
    net = _Net()
    optimizer = ClassGradientOptimizer(net, _base(net), GradNorm(4))
    for target in (Y, Y.clamp(max=1), Y + 1):
        optimizer.step(_closure(net, target.clamp(max=2)))
    other = GradNorm(4)
    other.load_state_dict(optimizer.state_dict()["combiner"])
    first, second = optimizer.combiner.state_dict(), other.state_dict()
    assert torch.equal(first["v"], second["v"])
    assert first["first"].isnan().tolist() == [False, False, False, True]
    assert float(first["v"].abs().max()) > 0


def test_grad_norm_must_know_the_classes() -> None:
    with pytest.raises(InputError, match="rows must be those of the 0 classes last observed, got 2"):
        GradNorm(2)(torch.eye(2))
    with pytest.raises(InputError, match="classes must be below num_classes=2, got 5"):
        GradNorm(2).observe(torch.tensor([0, 5]), torch.ones(2))
    for argument in ({"alpha": -1.0}, {"rate": 0.0}):
        with pytest.raises(InputError, match=f"{next(iter(argument))} must be in"):
            GradNorm(2, **argument)
