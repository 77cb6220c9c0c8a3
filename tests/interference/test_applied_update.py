"""Updates against real optimiser steps, alignment against brute force, and nothing left changed behind."""

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.interference.groups import Groups
from tailgrad.interference.update import Update, align, applied

Net = tuple[nn.Module, Tensor, Tensor]
Brute = Callable[..., dict[str, Tensor]]
Maker = Callable[[Any], torch.optim.Optimizer]


class Found:
    """Class gradients as `align` needs them, from brute force."""

    def __init__(self, rows: dict[str, Tensor], groups: Groups, counts: list[int]) -> None:
        self.rows, self.groups, self.counts = rows, groups, np.array(counts)

    def _names(self, group: str | None) -> list[str]:
        return self.groups.groups[group or self.groups.primary]

    def gram(self, group: str | None = None) -> np.ndarray:
        whole = torch.cat([self.rows[name] for name in self._names(group)], 1).double()
        return (whole @ whole.T).detach().numpy()

    def dot(self, vector: Mapping[str, Tensor], group: str | None = None) -> np.ndarray:
        return sum(self.rows[n].double() @ vector[n].flatten().double() for n in self._names(group)).numpy()


def _groups(model: nn.Module, primary: str = "backbone") -> Groups:
    names = [name for name, _ in model.named_parameters()]
    return Groups({"backbone": names[:-2], "head": names[-2:], "all": names}, {}, primary)


def _split(model: nn.Module) -> list[list[nn.Parameter]]:
    parameters = list(model.parameters())
    return [parameters[:2], parameters[2:]]


def _in_groups(model: nn.Module) -> list[dict[str, Any]]:
    first, rest = _split(model)
    return [{"params": first, "lr": 0.2, "weight_decay": 0.1}, {"params": rest}]


OPTIMIZERS: dict[str, Maker] = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.1),
    "momentum": lambda m: torch.optim.SGD(_in_groups(m), lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda m: torch.optim.Adam(_in_groups(m), lr=0.01, amsgrad=True),
    "adamw": lambda m: torch.optim.AdamW(_in_groups(m), lr=0.01),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), lr=0.01, centered=True),
    "lbfgs": lambda m: torch.optim.LBFGS(m.parameters(), lr=0.1, max_iter=2),
}


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[nn.Module], Tensor]) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(model)
        value.backward()
        return value.detach()

    optimizer.step(closure)


def _noisy_net() -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    inputs, target = torch.randn(12, 6), torch.arange(12) % 3
    return model, lambda m: F.cross_entropy(m(inputs), target)


def _everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return copy.deepcopy(
        {
            "state": model.state_dict(),
            "grad": [p.grad for p in model.parameters()],
            "optimizer": optimizer.state_dict(),
            "modes": [m.training for m in model.modules()],
            "random": (torch.get_rng_state(), random.getstate(), np.random.get_state()),  # noqa: NPY002
        }
    )


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        tree = [*tree.keys(), *tree.values()]
    if isinstance(tree, list | tuple):
        for item in tree:
            yield from _leaves(item)
    else:
        yield tree.tolist() if isinstance(tree, Tensor | np.ndarray) else tree


# Update.of_step


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_on_a_copy_is_the_real_next_step(name: str) -> None:
    model, loss = _noisy_net()
    optimizer = OPTIMIZERS[name](model)
    for _ in range(3):  # moments and momentum are filled
        _step(model, optimizer, loss)
    update = Update.of_step(model, optimizer, loss)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    _step(model, optimizer, loss)
    for key, p in model.named_parameters():
        assert torch.equal(update.delta[key], before[key] - p.detach()), key
    assert type(optimizer).__name__ in update.label


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_of_step_changes_nothing_it_was_given(name: str) -> None:
    model, loss = _noisy_net()
    optimizer = OPTIMIZERS[name](model)
    _step(model, optimizer, loss)
    before = list(_leaves(_everything(model, optimizer)))

    def drawing(twin: nn.Module) -> Tensor:
        random.random()
        np.random.rand()  # noqa: NPY002
        return loss(twin)

    Update.of_step(model, optimizer, drawing)
    assert list(_leaves(_everything(model, optimizer))) == before


def test_a_scheduler_and_hooks_of_the_optimiser_stay_out_of_it() -> None:
    model, loss = _noisy_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    called: list[int] = []
    optimizer.register_step_post_hook(lambda *_: called.append(1))
    before = [p.detach().clone() for p in model.parameters()]
    update = Update.of_step(model, optimizer, loss)
    assert called == []
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert update.norm(update.delta) > 0
    _step(model, optimizer, loss)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_a_frozen_or_unreached_parameter_does_not_move() -> None:
    model, loss = _noisy_net()
    model[0].bias.requires_grad_(False)
    model.extra = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    delta = Update.of_step(
        model, optimizer, lambda m: F.cross_entropy(m[0](torch.ones(2, 6)), torch.tensor([0, 1]))
    )
    assert delta.delta["extra"].abs().sum() == 0
    assert delta.delta["0.bias"].abs().sum() == 0
    assert delta.delta["0.weight"].abs().sum() > 0
    assert loss(model).isfinite()


def test_of_step_works_where_gradients_are_switched_off() -> None:
    model, loss = _noisy_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.no_grad():
        update = Update.of_step(model, optimizer, loss, label="mine")
    assert update.label == "mine"
    assert update.norm(update.delta) > 0


@pytest.mark.parametrize(
    ("name", "lr"), [("sgd", 0.1), ("rmsprop", 0.01), ("momentum", None), ("adamw", None)]
)
def test_the_learning_rate_is_known_where_it_is_one_number(name: str, lr: float | None) -> None:
    model, loss = _noisy_net()
    assert Update.of_step(model, OPTIMIZERS[name](model), loss).lr == lr


def _of_original(model: nn.Module) -> Callable[[nn.Module], Tensor]:
    return lambda _: model(torch.ones(2, 6)).sum()


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda m: m(torch.ones(2, 6)), r"scalar tensor, got \[2, 3\]"),
        (lambda _: 1.0, "scalar tensor, got float"),
        (lambda m: m(torch.ones(2, 6)).sum() * float("nan"), "loss must be finite, got nan"),
        (lambda m: m(torch.ones(2, 6)).sum().detach(), "must carry a gradient"),
    ],
)
def test_a_loss_that_cannot_be_stepped_on(loss: Callable[[nn.Module], Any], said: str) -> None:
    model, _ = _noisy_net()
    with pytest.raises(InputError, match=said):
        Update.of_step(model, torch.optim.SGD(model.parameters(), lr=0.1), loss)


def test_a_loss_of_the_original_model_is_refused_and_leaves_no_gradient() -> None:
    model, _ = _noisy_net()
    with pytest.raises(InputError, match="use the argument of the function"):
        Update.of_step(model, torch.optim.SGD(model.parameters(), lr=0.1), _of_original(model))
    assert all(p.grad is None for p in model.parameters())


# Update.between


def test_between_ignores_integers_and_undoes_compilation_names() -> None:
    before = {"_orig_mod.w": torch.ones(2), "steps": torch.tensor(3)}
    update = Update.between(before, {"w": torch.tensor([0.5, 2.0]), "steps": torch.tensor(4)})
    assert update.delta.keys() == {"w"}
    assert update.delta["w"].tolist() == [0.5, -1.0]


def test_between_half_precision_is_exact_in_float32() -> None:
    before, after = torch.tensor([1.0]).bfloat16(), torch.tensor([2.0**-9]).bfloat16()
    delta = Update.between({"w": before}, {"w": after}).delta["w"]
    assert delta.dtype is torch.float32
    assert delta.item() == 1 - 2**-9


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": torch.ones(2)}, {}, "after must hold the parameters of before, got none named 'a'"),
        ({}, {"a": torch.ones(2)}, "before must hold the parameters of after, got none named 'a'"),
        ({"a": torch.ones(2)}, {"a": torch.ones(3)}, r"an update with other shapes: \[3\] for 'a' of \[2\]"),
        (
            {"a": torch.ones(2)},
            {"a": torch.tensor([1, float("inf")])},
            "update must be finite, got -inf in 'a'",
        ),
        ({"a": torch.tensor(1)}, {"a": torch.tensor(2)}, "at least one parameter, got none"),
    ],
)
def test_states_that_do_not_fit(before: dict[str, Tensor], after: dict[str, Tensor], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Update.between(before, after)


# align


def test_alignment_equals_brute_force(network: Net, brute_force: Brute) -> None:
    model, inputs, target = network
    rows = brute_force(model, inputs, target)
    torch.manual_seed(0)
    update = Update({name: torch.randn_like(p) for name, p in model.named_parameters()})
    result = align(Found(rows, _groups(model), [15, 8, 6, 1]), update)
    for found, names in ((result, list(rows)[:-2]), (result.whole, list(rows))):
        whole = torch.cat([rows[n] for n in names], 1)
        direction = torch.cat([update.delta[n].flatten() for n in names])
        np.testing.assert_allclose(found.predicted_change, -(whole @ direction), rtol=1e-10)
        cosine = F.cosine_similarity(whole, direction[None])
        np.testing.assert_allclose(found.alignment, cosine, rtol=0, atol=1e-10)
    assert (result.group, result.whole.group) == ("backbone", "all")


def test_predicted_change_is_the_measured_one_at_a_small_step(network: Net, brute_force: Brute) -> None:
    model, inputs, target = network
    model.eval()
    rows = brute_force(model, inputs, target)

    def losses(net: nn.Module) -> Tensor:
        each = F.cross_entropy(net(inputs), target, reduction="none")
        return torch.stack([each[target == k].mean() for k in range(4)])

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    update = Update.of_step(model, optimizer, lambda m: losses(m).mean())
    with torch.no_grad():
        before = losses(model)
        with applied(model, update):
            change = losses(model) - before
    predicted = align(Found(rows, _groups(model), [15, 8, 6, 1]), update).whole.predicted_change
    np.testing.assert_allclose(predicted, change, rtol=0.05)


def test_alignment_does_not_depend_on_the_learning_rate_and_follows_the_sign() -> None:
    groups = Groups({"w": ["w"]}, {}, "w")
    found = Found({"w": torch.tensor([[3.0, 4.0], [-4.0, 3.0], [0, 0], [0, 0]])}, groups, [2, 2, 2, 0])
    for eta in (1e-6, 1.0, 1e4):
        result = align(found, Update({"w": eta * torch.tensor([3.0, 4.0])}))
        np.testing.assert_allclose(result.alignment, [1, 0, np.nan, np.nan], atol=1e-6)
        np.testing.assert_allclose(result.predicted_change, [-25 * eta, 0, 0, np.nan], atol=1e-5 * eta)
    assert result.whole is None
    assert np.isnan(align(found, Update({"w": torch.zeros(2)})).alignment).all()


def test_all_parameters_as_the_primary_group_are_their_own_whole() -> None:
    groups = Groups({"all": ["w"]}, {}, "all")
    result = align(Found({"w": torch.eye(2)}, groups, [1, 1]), Update({"w": torch.ones(2)}))
    np.testing.assert_array_equal(result.whole.alignment, result.alignment)


@pytest.mark.parametrize(
    ("delta", "said"),
    [
        ({"v": torch.ones(2)}, "must cover every parameter of 'w', got none for 'w'"),
        ({"w": torch.ones(3)}, r"an update with other shapes: \[3\] for 'w' of \[2\]"),
    ],
)
def test_an_update_of_another_model_is_refused(delta: dict[str, Tensor], said: str) -> None:
    found = Found({"w": torch.eye(2)}, Groups({"w": ["w"]}, {}, "w"), [1, 1])
    with pytest.raises(InputError, match=said):
        align(found, Update(delta))


# applied


def test_parameters_inside_are_those_after_the_step_and_come_back_bitwise(network: Net) -> None:
    model = network[0]
    old = copy.deepcopy(model.state_dict())
    after = copy.deepcopy(model)
    with torch.no_grad():
        for p in after.parameters():
            p.add_(torch.randn_like(p) / 3)
    update = Update.between(old, after.state_dict())
    with applied(model, update):
        for p, wanted in zip(model.parameters(), after.parameters(), strict=True):
            torch.testing.assert_close(p, wanted, rtol=1e-14, atol=1e-14)
    with pytest.raises(ZeroDivisionError), applied(model, update):
        _ = 1 / 0
    for name, value in model.state_dict().items():
        assert torch.equal(value, old[name]), name


def test_a_tied_parameter_moves_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    start = model[0].weight.detach().clone()
    with applied(model, Update({"0.weight": torch.ones(2, 2), "1.weight": torch.ones(2, 2)})):
        torch.testing.assert_close(model[1].weight.detach(), start - 1)


@pytest.mark.parametrize(
    ("delta", "said"),
    [
        (
            {"wight": torch.ones(2, 2)},
            "must name parameters of the model, got 'wight'; did you mean 'weight'",
        ),
        ({"weight": torch.ones(4)}, r"an update with other shapes: \[4\] for 'weight' of \[2, 2\]"),
    ],
)
def test_what_cannot_be_applied_changes_nothing(delta: dict[str, Tensor], said: str) -> None:
    model = nn.Linear(2, 2)
    start = model.bias.detach().clone()
    with pytest.raises(InputError, match=said), applied(model, Update({"bias": torch.ones(2), **delta})):
        pass
    assert torch.equal(model.bias, start)
