"""What CSBA is compared with to see what its gates do: identities, and parameters against closed forms."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import CSBA, BranchSum, ConflictBranches, SEGate, WiderHead
from tailgrad.models import create_model
from tailgrad.optim import AsymmetricSAM

N, C, K = 5, 48, 6
BACKBONE = 1_336_384  # tripath without a head
GATES = 3 * 2 * 768 * 96
CLASSES = (2, 6, 10, 100)


def _map(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.leaky_relu(torch.randn(N, C, 7, 7, generator=generator, dtype=torch.float64))


def _head(**options: Any) -> CSBA:
    torch.manual_seed(1)
    return CSBA(C, K, **options).double()


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _shared_from(head: CSBA) -> CSBA:
    """The head with the first branch's gate in front of all its classifiers."""
    shared = _head(gates="shared", branches=len(head.branches), dropout=head.dropout)
    shared.gate.load_state_dict(
        {f"{layer}.weight": getattr(head.branches[0], layer).weight for layer in ("squeeze", "excite")}
    )
    for ours, theirs in zip(shared.branches, head.branches, strict=True):
        ours.classify.load_state_dict(theirs.classify.state_dict())
    return shared.train(head.training)


@pytest.mark.parametrize("training", [True, False])
def test_a_shared_gate_on_one_branch_is_csba_with_one_branch(training: bool) -> None:
    head = _head(branches=1).train(training)
    found = []
    for one in (head, _shared_from(head)):
        torch.manual_seed(2)
        found.append(one(_map()))
    assert torch.equal(*found)


def test_a_shared_gate_is_csba_whose_gates_are_equal() -> None:
    head = _head(gates="identical").train()
    shared, found, grads = _shared_from(head), [], []
    for one in (head, shared):
        torch.manual_seed(2)
        found.append(one(_map()))
        F.cross_entropy(found[-1], torch.arange(N)).backward()
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-13)
    grads = [branch.squeeze.weight.grad for branch in head.branches]
    torch.testing.assert_close(sum(grads), shared.gate.squeeze.weight.grad, rtol=1e-9, atol=1e-13)


def test_a_shared_gate_is_one_gated_classifier_outside_training() -> None:
    head, features = _head(gates="shared").eval(), _map()
    weight, bias = (sum(getattr(b.classify, name) for b in head.branches) for name in ("weight", "bias"))
    gates = head.gates(features)
    assert gates.shape == (3, N, C)
    assert torch.equal(gates[0], gates[2])
    expected = (gates[0] * features.mean((2, 3))) @ weight.T + bias
    torch.testing.assert_close(head(features), expected, rtol=1e-12, atol=1e-13)


def test_identical_gates_start_equal_and_part_through_their_classifiers() -> None:
    head = _head(gates="identical", dropout=0.0).train()
    gates = head.gates(_map())
    assert torch.equal(gates[0], gates[1])
    assert torch.equal(gates[0], gates[2])
    assert not torch.equal(head.branches[0].classify.weight, head.branches[1].classify.weight)
    assert not torch.equal(gates[0], _head().gates(_map())[1])
    F.cross_entropy(head(_map()), torch.arange(N)).backward()
    torch.optim.SGD(head.parameters(), lr=0.1).step()
    after = head.gates(_map())
    assert (after[0] - after[1]).abs().max() > 1e-6


def _step(head: CSBA, how: str) -> None:
    learns = [p for p in head.parameters() if p.requires_grad]
    # As the library does it; and as somebody who hands over all parameters does.
    given_ = learns if how == "adamw" else list(head.parameters())
    base = torch.optim.AdamW(given_, lr=0.1, weight_decay=0.5)
    if how == "sam":
        loss = nn.CrossEntropyLoss(reduction="none")
        AsymmetricSAM(head, base, [5, 4, 3, 2, 1, 1]).step(
            lambda: (loss(head(_map()), torch.arange(N)), torch.arange(N))
        )
        return
    F.cross_entropy(head(_map()), torch.arange(N)).backward()
    base.step()


@pytest.mark.parametrize("options", [{"gates": "frozen"}, {"detach_gates": True}], ids=["frozen", "detached"])
@pytest.mark.parametrize("how", ["adamw", "adamw on all", "sam"])
def test_frozen_and_detached_gates_stay_as_they_were_drawn(options: dict[str, Any], how: str) -> None:
    head = _head(**options).train()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    own = {name for name in before if "classify" not in name}
    assert len(own) == 6
    assert {name for name, p in head.named_parameters() if not p.requires_grad} == own
    _step(head, how)
    after = head.state_dict()
    assert {name for name in after if torch.equal(after[name], before[name])} == own
    drawn = _head().state_dict()
    assert all(torch.equal(before[name], drawn[name]) for name in drawn)


def _gradient_at_map(head: nn.Module) -> Tensor:
    features = _map().requires_grad_()
    (found,) = torch.autograd.grad(F.cross_entropy(head(features), torch.arange(N)), features)
    return found


def test_gradients_pass_through_frozen_gates_and_not_through_detached_ones() -> None:
    plain, frozen, detached = (
        _gradient_at_map(_head(**options).eval())
        for options in ({}, {"gates": "frozen"}, {"detach_gates": True})
    )
    assert torch.equal(plain, frozen)
    assert (plain - detached).norm() > 1e-3 * plain.norm()


def test_an_unknown_kind_of_gates_is_named() -> None:
    with pytest.raises(InputError, match=r"gates must be a known name, got 'share'; did you mean 'shared'\?"):
        CSBA(C, K, gates="share")


def test_the_wider_head_adds_what_a_hidden_layer_makes_of_the_mean() -> None:
    torch.manual_seed(1)
    head = WiderHead(C, K).double().eval()
    features, g = _map(), _map().mean((2, 3))
    added = torch.relu(g @ head.squeeze.weight.T) @ head.expand.weight.T
    weight, bias = (sum(getattr(branch, name) for branch in head.branches) for name in ("weight", "bias"))
    torch.testing.assert_close(head(features), (g + added) @ weight.T + bias, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("training", [True, False])
def test_the_wider_head_without_its_layer_is_the_baseline_under_the_same_masks(training: bool) -> None:
    head, baseline = WiderHead(C, K).double().train(training), BranchSum(C, K).double().train(training)
    nn.init.zeros_(head.expand.weight)
    baseline.branches.load_state_dict(head.branches.state_dict())
    found = []
    for one in (head, baseline):
        torch.manual_seed(3)
        found.append(one(_map()))
    assert torch.equal(*found)


@pytest.mark.parametrize("training", [True, False])
def test_an_se_gate_is_csba_with_one_branch(training: bool) -> None:
    head = _head(branches=1, reduction=4).train(training)
    gate = SEGate(C, K, like="conflict_branches", branches=1, reduction=4).double().train(training)
    (branch,) = head.branches
    gate.gate.squeeze.load_state_dict(branch.squeeze.state_dict())
    gate.gate.excite.load_state_dict(branch.excite.state_dict())
    gate.classify.load_state_dict(branch.classify.state_dict())
    found = []
    for one in (head, gate):
        torch.manual_seed(3)
        found.append(one(_map()))
    assert torch.equal(*found)
    assert torch.equal(head.gates(_map()), gate.gates(_map()))


@pytest.mark.parametrize("classes", CLASSES)
def test_parameters_of_every_control_on_tripath(classes: int) -> None:
    def total(head: str, **options: Any) -> int:
        with torch.device("meta"):
            return _size(create_model("tripath", classes, head=head, head_options=options))

    one = classes * 769  # a classifier on 768 channels
    csba = BACKBONE + GATES + 3 * one
    assert total("csba") == csba
    assert total("csba", gates="frozen") == total("csba", gates="identical") == csba
    assert total("csba", detach_gates=True) == csba
    assert total("csba", gates="shared") == csba - 2 * GATES // 3
    assert total("wider_head") == csba
    assert abs(total("se_gate") - csba) <= 768
    assert abs(total("se_gate") - csba) < 0.005 * csba
    narrow = BACKBONE + GATES * min(3, classes) // 3 + one  # no more groups than classes
    assert total("conflict_branches") == total("se_gate", like="conflict_branches") == narrow


def test_parameters_with_six_classes_as_the_documentation_states_them() -> None:
    heads: dict[str, nn.Module] = {
        "csba": CSBA(768, 6),
        "shared": CSBA(768, 6, gates="shared"),
        "wider_head": WiderHead(768, 6),
        "se_gate": SEGate(768, 6),
        "conflict_branches": ConflictBranches(768, 6),
        "one_gate": SEGate(768, 6, like="conflict_branches"),
    }
    assert {name: BACKBONE + _size(head) for name, head in heads.items()} == {
        "csba": 1_792_594,
        "shared": 1_497_682,
        "wider_head": 1_792_594,
        "se_gate": 1_792_582,
        "conflict_branches": 1_783_366,
        "one_gate": 1_783_366,
    }


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 50), st.integers(2, 30))
def test_controls_are_as_large_as_csba_for_any_width(
    branches: int, channels: int, reduction: int, classes: int
) -> None:
    sizes = {"branches": branches, "reduction": reduction}
    csba = _size(CSBA(channels, classes, **sizes))
    assert _size(WiderHead(channels, classes, **sizes)) == csba
    assert abs(_size(SEGate(channels, classes, **sizes)) - csba) <= channels
    mine = ConflictBranches(channels, classes, groups=branches, reduction=reduction)
    assert _size(mine) == _size(SEGate(channels, classes, like="conflict_branches", **sizes))


CONTROLS = [("csba", {}), ("csba", {"gates": "shared"}), ("wider_head", {}), ("se_gate", {})]


@pytest.mark.parametrize("backbone", ["resnet32", "timm/resnet10t"])
@pytest.mark.parametrize(("head", "options"), [*CONTROLS, ("conflict_branches", {})])
def test_heads_work_on_other_backbones(backbone: str, head: str, options: dict[str, Any]) -> None:
    model = create_model(backbone, 4, head=head, head_options=options)
    channels = model.backbone.channels
    assert model.head.channels == channels == (64 if backbone == "resnet32" else 512)
    images = torch.rand(3, 3, 32, 32)
    F.cross_entropy(model(images), torch.tensor([0, 1, 2])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.head.parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.backbone.parameters() if p.grad is not None)
    if head == "csba" and not options:
        hidden = channels // 8
        assert _size(model.head) == 3 * (2 * channels * hidden + 4 * channels + 4)
