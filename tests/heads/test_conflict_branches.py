"""One gate for each group of classes: its formula, the moment of assignment, and what a file may hold."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import ConflictBranches

N, C, K, B = 5, 24, 6, 3
GROUPS = [0, 1, 0, 2, 2, 1]


def _map(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.leaky_relu(torch.randn(N, C, 5, 5, generator=generator, dtype=torch.float64))


def _head(**options: Any) -> ConflictBranches:
    torch.manual_seed(1)
    head = ConflictBranches(C, K, **options).double()
    nn.init.normal_(head.classify.bias)
    return head


def _parted() -> ConflictBranches:
    """Assigned, and with gates that have learnt different things."""
    head = _head()
    head.assign(GROUPS)
    for gate in head.branches:
        nn.init.normal_(gate.squeeze.weight)
        nn.init.normal_(gate.excite.weight)
    return head


def _literal(head: ConflictBranches, features: Tensor, seed: int) -> Tensor:
    """Gate the dropped-out map by the gate of each class's group, classify every position, pool."""
    torch.manual_seed(seed)
    g, dropped = features.mean((2, 3)), F.dropout(features, head.dropout, head.training)
    logits = []
    for k, b in enumerate(head.group.tolist()):
        gate = head.branches[b]
        a = torch.sigmoid(torch.relu(g @ gate.squeeze.weight.T) @ gate.excite.weight.T)
        weight = head.classify.weight[k][None, :, None, None]
        logits.append(F.conv2d(dropped * a[:, :, None, None], weight, head.classify.bias[k : k + 1]))
    return torch.cat(logits, 1).mean((2, 3))


@pytest.mark.parametrize("training", [True, False])
def test_equals_the_literal_map_form_under_the_same_mask(training: bool) -> None:
    head, features = _parted().train(training), _map().requires_grad_()
    torch.manual_seed(4)
    ours, literal = head(features), _literal(head, features, 4)
    torch.testing.assert_close(ours, literal, rtol=1e-12, atol=1e-12)
    probe = torch.randn(N, K, dtype=torch.float64)
    inputs = (features, *head.parameters())
    grads = [torch.autograd.grad((z * probe).sum(), inputs) for z in (ours, literal)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 3, N])
def test_assignment_leaves_the_function_as_it_was_bit_for_bit(
    training: bool, dtype: torch.dtype, rows: int
) -> None:
    head, features = _head().to(dtype).train(training), _map()[:rows].to(dtype)
    F.cross_entropy(head(features), torch.arange(rows)).backward()
    torch.optim.SGD(head.parameters(), lr=0.3).step()  # copies must be taken of what was learnt
    torch.manual_seed(5)
    before = head(features)
    assert not head.is_assigned
    pairs = head.assign(GROUPS)
    torch.manual_seed(5)
    assert torch.equal(head(features), before)
    assert head.is_assigned
    assert len(pairs) == 2 * (B - 1)
    assert all(torch.equal(weight, copy) and weight is not copy for weight, copy in pairs)
    assert head.gates(features).shape == (B, rows, C)


def test_before_the_assignment_one_gate_learns_for_all() -> None:
    head = _head(dropout=0.0).train()
    F.cross_entropy(head(_map()), torch.arange(N)).backward()
    first, *others = head.branches
    assert first.squeeze.weight.grad.abs().sum() > 0
    for gate in others:  # zero and not missing, which DDP would wait for
        assert not gate.squeeze.weight.grad.any()


def test_afterwards_each_gate_gets_the_part_of_its_classes() -> None:
    shared, split = _head(dropout=0.0), _head(dropout=0.0)
    split.assign(GROUPS)
    for head in (shared, split):
        F.cross_entropy(head(_map()), torch.arange(N)).backward()
    parts = [gate.excite.weight.grad for gate in split.branches]
    assert all(part.abs().sum() > 0 for part in parts)
    torch.testing.assert_close(sum(parts), shared.branches[0].excite.weight.grad, rtol=1e-10, atol=1e-14)
    split.zero_grad()
    split(_map())[:, 3].sum().backward()  # class 3 is in group 2
    assert [bool(gate.excite.weight.grad.any()) for gate in split.branches] == [False, False, True]


def test_the_groups_are_part_of_the_state() -> None:
    head, other = _parted(), _head()
    other.load_state_dict(head.state_dict())
    assert other.group.tolist() == GROUPS
    assert torch.equal(other.eval()(_map()), head.eval()(_map()))
    assert other.is_assigned


@pytest.mark.parametrize("bad", [[-1, 0, 0, 1, 1, 2], [0, 1, 2, 3, 0, 1]])
def test_a_file_with_other_groups_is_refused(bad: list[int]) -> None:
    head = _head()
    state = head.state_dict() | {"group": torch.tensor(bad)}
    with pytest.raises(InputError, match=r"group must hold numbers in 0\.\.2, got"):
        head.load_state_dict(state)


@pytest.mark.parametrize("bad", [[0, 1, 2], [0, 1, 0, 1, 0, 1], [0, 1, 2, 3, 0, 1], [0, 1, 2, -1, 0, 1]])
def test_groups_that_do_not_fit_are_refused(bad: list[int]) -> None:
    head = _head()
    with pytest.raises(InputError, match=r"groups must hold one of 0\.\.2 for each of 6 classes"):
        head.assign(bad)
    assert not head.is_assigned


def test_groups_are_assigned_once() -> None:
    head = _parted()
    with pytest.raises(InputError, match="groups must be assigned once"):
        head.assign(GROUPS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 0}, "groups must be in"),
        ({"assign_after": 0}, "assign_after must be in"),
        ({"reduction": 0}, "reduction must be in"),
        ({"by": "conflicts"}, "did you mean 'conflict'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConflictBranches(C, K, **options)


def test_no_more_groups_than_classes_and_one_group_is_one_gate() -> None:
    assert len(ConflictBranches(C, 2, groups=5).branches) == 2
    head, features = _head(groups=1).eval(), _map()
    g = features.mean((2, 3))
    expected = (head.gates(features)[0] * g) @ head.classify.weight.T + head.classify.bias
    torch.testing.assert_close(head(features), expected, rtol=1e-12, atol=1e-13)
    assert head.assign([0] * K) == []
