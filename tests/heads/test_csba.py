import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import CSBA, BranchSum

N, C, K = 5, 48, 6


def _map(seed: int = 0, *, channels: int = C, side: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.leaky_relu(torch.randn(N, channels, side, side, generator=generator, dtype=torch.float64))


def _head(**options: object) -> CSBA:
    torch.manual_seed(1)
    head = CSBA(C, K, **options).double()
    for branch in head.branches:
        nn.init.normal_(branch.classify.bias)
    return head


def _baseline_of(head: CSBA) -> BranchSum:
    """The baseline with the same convolutions, without gates."""
    baseline = BranchSum(head.channels, K, branches=len(head.branches), dropout=head.dropout).double()
    for ours, theirs in zip(baseline.branches, head.branches, strict=True):
        ours.load_state_dict(theirs.classify.state_dict())
    return baseline.train(head.training)


def _literal(head: CSBA, features: Tensor, seed: int) -> Tensor:
    """The printed form: gate the map, drop out, convolve every position, add the maps, pool."""
    torch.manual_seed(seed)
    g = features.mean((2, 3))
    total = torch.zeros((), dtype=features.dtype)
    for branch in head.branches:
        gate = torch.sigmoid(torch.relu(g @ branch.squeeze.weight.T) @ branch.excite.weight.T)
        dropped = F.dropout(features * gate[:, :, None, None], head.dropout, head.training)
        weight = branch.classify.weight[:, :, None, None]
        total = total + F.conv2d(dropped, weight, branch.classify.bias)
    return F.adaptive_avg_pool2d(total, 1).flatten(1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3, 0.5])
def test_equals_the_literal_map_form_under_the_same_masks(training: bool, dropout: float) -> None:
    head = _head(dropout=dropout).train(training)
    features = _map().requires_grad_()
    torch.manual_seed(7)
    ours = head(features)
    literal = _literal(head, features, 7)
    torch.testing.assert_close(ours, literal, rtol=1e-12, atol=1e-12)
    inputs = (features, *head.parameters())
    probe = torch.randn(N, K, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad((ours * probe).sum(), inputs),
        torch.autograd.grad((literal * probe).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_fact_3_gated_linear_model_on_the_pooled_vector() -> None:
    head = _head().eval()
    features = _map()
    g, gates = features.mean((2, 3)), head.gates(features)
    expected = sum(
        (a * g) @ branch.classify.weight.T + branch.classify.bias
        for a, branch in zip(gates, head.branches, strict=True)
    )
    torch.testing.assert_close(head(features), expected, rtol=1e-12, atol=1e-12)


def test_fact_4_closed_and_open_gates() -> None:
    head = _head().eval()
    features = _map()
    bias = sum(branch.classify.bias for branch in head.branches)
    plain = _baseline_of(head)(features)
    for branch in head.branches:
        nn.init.zeros_(branch.excite.weight)
    assert (head.gates(features) == 0.5).all()
    torch.testing.assert_close(head(features) - bias, (plain - bias) / 2, rtol=1e-12, atol=1e-12)
    positive = features.abs() + 0.1
    for branch in head.branches:
        nn.init.constant_(branch.squeeze.weight, 1.0)
        nn.init.constant_(branch.excite.weight, 1e3)
    assert (head.gates(positive) == 1).all()
    torch.testing.assert_close(head(positive), _baseline_of(head)(positive), rtol=1e-12, atol=1e-12)


def test_fact_5_identical_branches_never_part() -> None:
    head = _head(dropout=0.0).train()
    for branch in head.branches[1:]:
        branch.load_state_dict(head.branches[0].state_dict())
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for step in range(3):
        optimizer.zero_grad()
        F.cross_entropy(head(_map(step)), torch.arange(N)).backward()
        optimizer.step()
    for branch in head.branches[1:]:
        for a, b in zip(branch.parameters(), head.branches[0].parameters(), strict=True):
            assert torch.equal(a, b)
    start = _head(dropout=0.0).branches[0]
    assert not torch.equal(start.squeeze.weight, head.branches[0].squeeze.weight)


def _gradient_at_map(head: CSBA | BranchSum, features: Tensor, target: Tensor) -> Tensor:
    features = features.clone().requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(head(features), target, reduction="sum"), features)
    return grad


def _printed_gradient(head: CSBA, features: Tensor, target: Tensor) -> Tensor:
    """Eq 40: ``sum_b a_b * (W_b^T d) / (hw)``, the same at every position."""
    d = head(features).softmax(1) - F.one_hot(target, K)
    gates = head.gates(features)
    total = sum(a * (d @ branch.classify.weight) for a, branch in zip(gates, head.branches, strict=True))
    return (total / features[0, 0].numel())[:, :, None, None].expand_as(features)


def test_fact_6_printed_gradient_needs_detached_gates() -> None:
    features, target = _map(), torch.arange(N)
    detached = _head(detach_gates=True).eval()
    actual = _gradient_at_map(detached, features, target)
    torch.testing.assert_close(actual, _printed_gradient(detached, features, target), rtol=1e-10, atol=1e-15)


def test_fact_6_omitted_term_is_there_and_grows_with_the_gates() -> None:
    features, target = _map(), torch.arange(N)
    head, shares = _head().eval(), []
    for _ in range(3):
        true = _gradient_at_map(head, features, target).detach()
        omitted = true - _printed_gradient(head, features, target).detach()
        shares.append(float(omitted.norm() / true.norm()))
        for branch in head.branches:
            branch.excite.weight.data.mul_(2.5)
    assert shares[0] > 1e-3
    assert shares[0] < shares[1] < shares[2]


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 50), st.integers(2, 7))
def test_parameter_count_for_any_width(branches: int, channels: int, reduction: int, classes: int) -> None:
    head = CSBA(channels, classes, branches=branches, reduction=reduction)
    hidden = max(1, channels // reduction)
    expected = branches * (2 * channels * hidden + channels * classes + classes)
    assert sum(p.numel() for p in head.parameters()) == expected
    assert head(torch.rand(2, channels, 2, 3)).shape == (2, classes)


def test_overhead_over_the_baseline_is_442368() -> None:
    count = [sum(p.numel() for p in m.parameters()) for m in (CSBA(768, 6), BranchSum(768, 6))]
    assert count[0] - count[1] == 442_368
    assert not any(
        name.endswith("bias") and "classify" not in name for name, _ in CSBA(768, 6).named_parameters()
    )


def test_gates_differ_between_branches_and_lie_between_0_and_1() -> None:
    gates = _head().gates(_map())
    assert gates.shape == (3, N, C)
    assert ((gates > 0) & (gates < 1)).all()
    assert (gates[0] - gates[1]).abs().max() > 0.01


def test_fact_10_a_batch_of_one_trains() -> None:
    head = _head().train()
    head(_map()[:1]).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("reduction", [0, -2])
def test_bad_reduction_is_named(reduction: int) -> None:
    with pytest.raises(InputError, match=f"reduction must be in .* got {reduction}"):
        CSBA(16, 3, reduction=reduction)
