"""What an update does to every class, the class-balanced control, and where a conflict sits."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.interference import Extras, Update, measure
from tailgrad.interference.effect import Effect

COUNTS = [60, 30, 12, 6]


@pytest.fixture
def problem() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4)).double()
    target = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))[torch.randperm(108)]
    return model, torch.randn(108, 6).double() + 0.3 * target[:, None], target


def _losses(model: nn.Module, inputs: Tensor, target: Tensor) -> np.ndarray:
    with torch.no_grad():
        loss = F.cross_entropy(model(inputs), target, reduction="none")
    return np.array([loss[target == k].mean() for k in range(4)])


OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, 1e-3),
    "momentum": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, 1e-5),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_predicted_and_measured_change_agree_at_a_small_step(
    optimiser: str, problem: tuple[nn.Module, Tensor, Tensor]
) -> None:
    model, inputs, target = problem
    weights = torch.tensor([1.0, 1, 4, 9]).double()
    solver = OPTIMISERS[optimiser](model.parameters())
    for _ in range(3):
        solver.zero_grad()
        F.cross_entropy(model(inputs), target, weights).backward()
        solver.step()
    update = Update.of_step(model, solver, lambda twin: F.cross_entropy(twin(inputs), target, weights))
    result = measure(model, [(inputs, target)], "all", update=update)
    assert result.effect is not None
    np.testing.assert_allclose(result.effect.ratio, 1, atol=0.05)
    after = copy.deepcopy(model)
    with torch.no_grad():
        for name, p in after.named_parameters():
            p -= update.delta[name]
    change = _losses(after, inputs, target) - _losses(model, inputs, target)
    np.testing.assert_allclose(result.measured_change, change, rtol=1e-9)
    assert (np.sign(result.predicted_change) == -np.sign(result.alignment)).all()


def test_an_update_along_one_class_is_aligned_with_it(problem: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, target = problem
    loss = F.cross_entropy(model(inputs[target == 2]), target[target == 2])
    found = torch.autograd.grad(loss, list(model.parameters()))
    delta = {name: 1e-4 * g for (name, _), g in zip(model.named_parameters(), found, strict=True)}
    result = measure(model, [(inputs, target)], "all", update=Update(delta))
    np.testing.assert_allclose(result.alignment, result.conflict[2], atol=1e-9)
    squares = 1e-4 * result.conflict[2] * result.norms * result.norms[2]
    np.testing.assert_allclose(result.predicted_change, -squares, rtol=1e-9)


def test_a_plain_step_leaves_no_remainder(problem: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, target = problem
    solver = torch.optim.SGD(model.parameters(), 0.01)
    update = Update.of_step(model, solver, lambda twin: F.cross_entropy(twin(inputs), target))
    result = measure(model, [(inputs, target)], update=update)
    assert result.effect is not None
    assert result.contributions is not None
    np.testing.assert_allclose(result.effect.remainder, 0, atol=1e-10)
    whole = measure(model, [(inputs, target)], "all")
    assert whole.contributions is not None
    np.testing.assert_allclose(-0.01 * whole.contributions.sum(1), result.predicted_change, rtol=1e-8)


def test_weights_and_counts_of_the_training_data_enter_the_contributions(
    problem: tuple[nn.Module, Tensor, Tensor],
) -> None:
    model, inputs, target = problem
    extras = Extras(train_counts=[1000, 100, 10, 5], class_weights=[0.5, 1, 2, 4])
    plain = measure(model, [(inputs, target)]).contributions
    found = measure(model, [(inputs, target)], extras=extras).contributions
    assert plain is not None
    assert found is not None
    share = np.array([1000, 100, 10, 5]) / 1115 * np.array([0.5, 1, 2, 4])
    gram = plain / (np.array(COUNTS) / 108)
    np.testing.assert_allclose(found / found[0, 0], gram * share / (gram * share)[0, 0], rtol=1e-9)


def test_a_class_that_is_counted_and_not_measured_is_unknown(
    problem: tuple[nn.Module, Tensor, Tensor],
) -> None:
    model, inputs, target = problem
    kept = target != 3
    found = measure(model, [(inputs[kept], target[kept])], extras=Extras(train_counts=[1000, 100, 10, 5]))
    assert found.contributions is not None
    assert np.isnan(found.contributions).all(1).tolist() == [False, False, False, True]
    assert (found.contributions[:3, 3] == 0).all()


def test_an_update_that_misses_a_parameter_is_refused(problem: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, inputs, target = problem
    update = Update({"2.bias": torch.ones(4).double()})
    with pytest.raises(
        InputError, match="update must cover every parameter of 'all', got none for '0.weight'"
    ):
        measure(model, [(inputs, target)], update=update)
    update = Update({"2.biass": torch.ones(4).double()})
    with pytest.raises(InputError, match="update must name parameters of the model, got '2.biass'"):
        measure(model, [(inputs, target)], update=update)


def test_ratio_without_a_prediction_is_undefined() -> None:
    effect = Effect("x", np.ones(2), np.array([0.0, -0.5]), np.array([0.1, -0.25]), None)
    np.testing.assert_array_equal(effect.ratio, [np.nan, 0.5])


def test_the_control_is_a_measurement_of_as_many_examples_of_each_class(
    problem: tuple[nn.Module, Tensor, Tensor],
) -> None:
    model, inputs, target = problem
    result = measure(model, [(inputs, target)], extras=Extras(control=True))
    first = torch.cat([torch.arange(108)[target == k][:6] for k in range(4)])
    expected = measure(model, [(inputs[first], target[first])])
    assert result.control is not None
    assert result.control.examples == 6
    np.testing.assert_allclose(result.control.conflict, expected.conflict, rtol=0, atol=1e-10)
    np.testing.assert_allclose(result.control.null, expected.null, rtol=0, atol=1e-10)
    assert result.control.interval is not None
    assert result.control.disattenuated is not None
    assert measure(model, [(inputs, target)]).control is None


class SideBranch(nn.Module):
    """A trunk that every class goes through, and a side block that only some inputs open."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(2))
        self.side = nn.ModuleList([nn.Sequential(nn.Linear(4, 8), nn.Tanh())])
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        opened, aside, x = x.split([1, 4, 8], 1)
        side = opened * self.side[0](aside)
        for block in self.trunk:
            x = x + block(x)
        return self.head(torch.cat([x, side], 1))


def test_a_conflict_planted_in_a_side_branch_is_found_there_and_nowhere_else() -> None:
    torch.manual_seed(0)
    model = SideBranch().double()
    target = torch.arange(400) % 4
    opened = (target < 2).double()[:, None]
    aside = torch.randn(400, 4).double() + 2
    inputs = torch.cat([opened, aside, torch.randn(400, 8).double() + 4 * F.one_hot(target, 8)], 1)
    with torch.no_grad():  # classes 0 and 1 pull the side block in opposite directions
        model.head.weight[:, 8:] = 0
        model.head.weight[0, 8:], model.head.weight[1, 8:] = 0.5, -0.5
    result = measure(model, [(inputs, target)])
    pair, rest = (0, 1), [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert result.blocks["side.0"][pair] < -0.9
    assert np.isnan([result.blocks["side.0"][p] for p in rest]).all()  # the others do not reach it
    for name in ("trunk.0", "trunk.1"):
        assert np.abs([result.blocks[name][p] for p in [pair, *rest]]).max() < 0.5
    assert min(result.layers, key=lambda name: np.nan_to_num(result.layers[name][pair])) == "side.0.0"
