"""Branch norms, shares and gates, on a head built here and on the library's own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.interference import Branches, measure
from tailgrad.interference.gates import overlap
from tailgrad.models import create_model

PRINTED = np.array(
    [
        [0.38, 0.29, 0.61, 0.57, 0.31, 0.22],
        [0.52, 0.48, 0.24, 0.19, 0.41, 0.35],
        [0.41, 0.37, 0.31, 0.28, 0.55, 0.49],
    ]
)


class SummedBranches(nn.Module):
    """Linear branches that are added, each behind a dropout of its own, optionally gated."""

    def __init__(self, gated: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4)) for _ in range(3))
        if gated:
            self.squeeze = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(3))
            self.gates = self._gates

    def _gates(self, features: Tensor) -> Tensor:
        return torch.stack([gate(features).sigmoid() for gate in self.squeeze])

    def forward(self, features: Tensor) -> Tensor:
        gated = self.gates(features) * features if hasattr(self, "gates") else [features] * 3
        return torch.stack([branch(x) for branch, x in zip(self.branches, gated, strict=True)]).sum(0)


def _problem(gated: bool) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), SummedBranches(gated)).double()
    return model, torch.randn(30, 6).double(), torch.arange(30) % 3  # class 3 is never seen


def test_summed_linear_branches_share_equally() -> None:
    model, inputs, target = _problem(gated=False)
    branches = measure(model, [(inputs, target)], "all").branches
    assert branches is not None
    assert branches.null == pytest.approx(1 / 3)
    np.testing.assert_allclose(branches.shares[:, :3], 1 / 3, rtol=1e-12)
    assert np.isnan(branches.shares[:, 3]).all()


def test_branch_norms_equal_brute_force(brute_force: Callable[..., dict[str, Tensor]]) -> None:
    model, inputs, target = _problem(gated=True)
    expected = brute_force(model, inputs, target)
    branches = measure(model, [(inputs, target)], "all").branches
    assert branches is not None
    assert branches.names == ("2.branches.0", "2.branches.1", "2.branches.2")
    for b, name in enumerate(branches.names):
        rows = torch.cat([g for key, g in expected.items() if key.startswith(f"{name}.")], 1)
        np.testing.assert_allclose(branches.norms[b, :3], rows.norm(dim=1)[:3], rtol=1e-10)
    assert np.abs(branches.shares[:, :3] - 1 / 3).max() > 1e-3


def test_shares_of_the_printed_norms() -> None:
    shares = Branches(("1", "2", "3"), PRINTED).shares
    np.testing.assert_allclose(shares.sum(0), 1)
    np.testing.assert_allclose(shares[0], [0.290, 0.254, 0.526, 0.548, 0.244, 0.208], atol=5e-4)
    np.testing.assert_allclose(shares[1], [0.397, 0.421, 0.207, 0.183, 0.323, 0.330], atol=5e-4)
    np.testing.assert_allclose(shares[2], [0.313, 0.325, 0.267, 0.269, 0.433, 0.462], atol=5e-4)


def test_mean_gates_are_those_of_each_class() -> None:
    model, inputs, target = _problem(gated=True)
    gates = measure(model, [(inputs, target)] * 2, "all").gates
    assert gates is not None
    with torch.no_grad():
        every = model[2].gates(model[1](model[0](inputs)))
    for k in range(3):
        np.testing.assert_allclose(gates.mean[:, k], every[:, target == k].mean(1), rtol=1e-12)
    assert np.isnan(gates.mean[:, 3]).all()
    between = overlap(gates.mean[:, 1])
    np.testing.assert_allclose(gates.between_branches.cosine[1], between.cosine)
    np.testing.assert_allclose(gates.between_branches.jaccard[1], between.jaccard)
    np.testing.assert_allclose(gates.between_classes.max_product[2], overlap(gates.mean[2]).max_product)
    for part in (gates.between_branches.jaccard[3], gates.between_classes.jaccard[:, 3]):
        assert np.isnan(part).all()


def test_overlap_against_loops() -> None:
    gates = np.random.default_rng(0).random((2, 4, 9))
    result = overlap(gates)
    for group in range(2):
        for i in range(4):
            for j in range(4):
                a, b = gates[group, i], gates[group, j]
                shared, joined = set(np.flatnonzero(a > 0.5)), set(np.flatnonzero(b > 0.5))
                jaccard = len(shared & joined) / len(shared | joined)
                assert result.cosine[group, i, j] == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)))
                assert result.max_product[group, i, j] == max(a * b)
                assert result.jaccard[group, i, j] == pytest.approx(jaccard)


def test_overlap_without_any_open_gate_is_undefined() -> None:
    assert np.isnan(overlap(np.full((2, 3), 0.4)).jaccard).all()


def test_a_head_without_branches_or_gates_has_none(perceptron: nn.Module) -> None:
    result = measure(perceptron, [(torch.randn(8, 6).double(), torch.arange(8) % 4)])
    assert result.branches is None
    assert result.gates is None


def test_gates_of_another_form_are_named() -> None:
    model, inputs, target = _problem(gated=True)
    model[2]._gates, gates = None, model[2]._gates
    model[2].gates = lambda features: gates(features).transpose(0, 1)
    model[2].forward = lambda features: model[2].branches[0](features)
    with pytest.raises(InputError, match=r"must return \[B, N, C\] with N = 10, got \[10, 3, 8\]"):
        measure(model, [(inputs, target)], "all")


@pytest.mark.parametrize("head", ["branch_sum", "csba"])
def test_the_library_s_own_heads(head: str) -> None:
    torch.manual_seed(0)
    model = create_model("resnet32", num_classes=3, head=head)
    inputs = torch.rand(6, 3, 32, 32)
    with torch.no_grad():
        for _ in range(20):
            model(inputs)  # running statistics: without them an untrained network's logits saturate
    result = measure(model, [(inputs, torch.arange(6) % 3)])
    assert result.branches is not None
    assert result.branches.norms.shape == (3, 3)
    assert result.geometry is not None
    if head == "branch_sum":
        np.testing.assert_allclose(result.branches.shares, 1 / 3, rtol=1e-5)
    else:
        assert result.gates is not None
        assert result.gates.mean.shape == (3, 3, 64)
        assert np.abs(result.branches.shares - 1 / 3).max() > 1e-3
