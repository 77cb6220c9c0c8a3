"""SAM whose ascent follows classes in conflict: its weights, its step against brute force, its memory."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD

from tailgrad.checks import InputError
from tailgrad.optim import SAM, AsymmetricSAM, ConflictSAM

COUNTS = [50, 20, 5]
X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 0, 1, 0, 2])
EACH = nn.CrossEntropyLoss(reduction="none")
amounts = st.lists(st.floats(0, 1e6), min_size=2, max_size=6)


def _net() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def _stepped(rule: Any, target: Tensor = Y, rho: float = 0.5) -> Tensor:
    net = _net()
    optimizer = SAM(net, SGD(net.parameters(), lr=1.0), rho, rule=rule)
    optimizer.step(lambda: (EACH(net(X), target), target))
    return net.weight.detach()


def test_the_weights_are_a_floor_and_a_share_of_the_opposition() -> None:
    rule = ConflictSAM([9, 4, 1], floor=0.2)
    rule.follow([0.1, 0.0, 0.3])
    # f + (1 - f) K e / sum e with K = 3 and sum e = 0.4
    assert rule.weights.tolist() == pytest.approx([0.2 + 0.8 * 0.75, 0.2, 0.2 + 0.8 * 2.25])


@given(amounts, st.floats(0, 1))
def test_the_mean_weight_is_one_and_more_opposition_never_weighs_less(
    opposed: list[float], floor: float
) -> None:
    rule = ConflictSAM([1] * len(opposed), floor=floor)
    rule.follow(opposed)
    weights = rule.weights.tolist()
    assert sum(weights) / len(weights) == pytest.approx(1)
    assert min(weights) >= floor * (1 - 1e-12)
    for e, a in zip(opposed, weights, strict=True):
        assert all(a <= b for f, b in zip(opposed, weights, strict=True) if e <= f)


@given(amounts, st.floats(1e-3, 1e3))
def test_the_unit_of_the_opposition_does_not_count(opposed: list[float], unit: float) -> None:
    one, two = ConflictSAM([1] * len(opposed)), ConflictSAM([1] * len(opposed))
    one.follow(opposed)
    two.follow([unit * e for e in opposed])
    if all(unit * e > 1e-300 for e in opposed if e):
        torch.testing.assert_close(one.weights, two.weights)


def test_without_opponents_all_count_alike() -> None:
    rule = ConflictSAM(COUNTS)
    rule.follow([0.0, 0.0, 3.0])
    rule.follow([0.0, 0.0, 0.0])
    assert rule.weights.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("opposed", [None, [0.25, 0.25, 0.25], [0.0, 0.0, 0.0]])
def test_with_equal_weights_it_is_sam_bit_for_bit(opposed: list[float] | None) -> None:
    rule = ConflictSAM(COUNTS)
    if opposed is not None:
        rule.follow(opposed)
    assert torch.equal(_stepped(rule), _stepped(None))


def test_a_floor_of_one_is_sam_whatever_is_measured() -> None:
    rule = ConflictSAM(COUNTS, floor=1.0)
    rule.follow([0.0, 0.1, 0.9])
    torch.testing.assert_close(_stepped(rule), _stepped(None))


def test_the_ascent_of_two_classes_against_brute_force() -> None:
    """One weight in two directions: class 0 has the loss 2 u^2, class 1 the loss (v - 1)^4; three to one."""
    rho, opposed, weight = 0.3, (0.1, 0.5), torch.tensor([1.0, 2.0], dtype=torch.float64)
    target = torch.tensor([0, 0, 0, 1])

    def losses(w: Tensor) -> Tensor:
        return torch.where(target == 0, 2 * w[0] ** 2, (w[1] - 1) ** 4)

    a = [0.1 + 0.9 * 2 * e / sum(opposed) for e in opposed]
    uphill = torch.tensor([a[0] * 0.75 * 4 * 1.0, a[1] * 0.25 * 4 * 1.0**3], dtype=torch.float64)
    moved = weight + rho * uphill / uphill.norm()
    expected = torch.stack([0.75 * 4 * moved[0], 0.25 * 4 * (moved[1] - 1) ** 3])

    net = nn.Linear(2, 1, bias=False).double()
    net.weight.data = weight[None].clone()
    rule = ConflictSAM([3, 1])
    rule.follow(opposed)
    optimizer = SAM(net, SGD(net.parameters(), lr=1.0), rho, rule=rule)
    optimizer.step(lambda: (losses(net.weight[0]), target))
    torch.testing.assert_close(weight - net.weight[0].detach(), expected)


def test_without_a_floor_a_batch_of_classes_in_peace_takes_an_ordinary_step() -> None:
    peaceful = torch.zeros(8, dtype=torch.int64)
    rule = ConflictSAM(COUNTS, floor=0.0)
    rule.follow([0.0, 0.2, 0.1])
    assert torch.equal(_stepped(rule, peaceful), _stepped(None, peaceful, rho=0.0))
    rule = ConflictSAM(COUNTS)
    rule.follow([0.0, 0.2, 0.1])
    torch.testing.assert_close(_stepped(rule, peaceful), _stepped(None, peaceful))


def test_its_weights_are_in_the_state_of_the_optimiser() -> None:
    net, again = _net(), _net()
    first, second = (
        AsymmetricSAM(n, SGD(n.parameters(), lr=0.1), COUNTS, variant="conflict_sam") for n in (net, again)
    )
    first.rule.follow([0.3, 0.2, 0.1])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.rule.weights.tolist() == first.rule.weights.tolist() != [1.0, 1.0, 1.0]
    plain = AsymmetricSAM(net, SGD(net.parameters(), lr=0.1), COUNTS, variant="sam")
    assert plain.state_dict().keys() == {"state", "param_groups"}


def test_a_run_measures_after_the_warm_up_and_every_few_epochs() -> None:
    rule = ConflictSAM(COUNTS, after=3, every=4)
    assert [epoch for epoch in range(1, 16) if rule.is_due(epoch)] == [3, 7, 11, 15]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"floor": 1.5}, r"floor must be in \[0, 1\], got 1.5"),
        ({"after": 0}, "after must be in .* got 0"),
        ({"every": 2.5}, "every must be a whole number of epochs, got 2.5"),
        ({"every": True}, "every must be a whole number of epochs, got True"),
        ({"every": "5"}, "every must be a number, got '5'"),
        ({"by": "conflit"}, "by must be .* got 'conflit'; did you mean 'conflict'"),
        ({"flor": 0.1}, "got 'flor'; did you mean 'floor'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], said: str) -> None:
    net = _net()
    with pytest.raises(InputError, match=said):
        AsymmetricSAM(net, SGD(net.parameters()), COUNTS, variant="conflict_sam", options=options)


@pytest.mark.parametrize(
    ("opposed", "said"),
    [
        ([0.1, 0.2], "must hold 3 numbers, .* got 2"),
        ([0.1, -0.2, 0.0], r"opposition\[1\] must be in .* got -0.2"),
        ([0.1, float("nan"), 0.0], r"opposition\[1\] must be in .* got nan"),
    ],
)
def test_a_wrong_opposition_is_named(opposed: list[float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ConflictSAM(COUNTS).follow(opposed)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, -1.0, 1.0], [1.0, float("nan"), 1.0], []])
def test_weights_that_cannot_be_are_refused(weights: list[float]) -> None:
    with pytest.raises(InputError, match="weights must be 3 finite numbers, none negative"):
        ConflictSAM(COUNTS).load_state_dict({"weights": torch.tensor(weights)})
