"""Directional noise of training batches, on batches made to point where we want."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.interference import DirectionalNoise, Extras, measure

Batches = list[tuple[Tensor, Tensor]]


def _noise(model: nn.Module, batches: Batches) -> DirectionalNoise:
    data = [(torch.randn(12, 4), torch.arange(12) % 3)]
    result = measure(model, data, "all", extras=Extras(training_batches=batches))
    assert result.noise is not None
    return result.noise


@pytest.fixture
def linear() -> nn.Module:
    model = nn.Linear(4, 3, bias=False).double()
    nn.init.zeros_(model.weight)
    return model


def _batch(rows: list[list[float]], labels: list[int]) -> tuple[Tensor, Tensor]:
    return torch.tensor(rows).double(), torch.tensor(labels)


def test_batches_of_one_direction_have_none(linear: nn.Module) -> None:
    batches = [_batch([[1.0 + b, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 2]], [0, 1, 2]) for b in range(5)]
    found = _noise(linear, batches)
    np.testing.assert_allclose(found.noise, 0, atol=1e-12)
    np.testing.assert_array_equal(found.absent, 0)
    assert found.batches == 5


def test_orthogonal_batches_are_all_noise(linear: nn.Module) -> None:
    batches = [(torch.eye(4)[b : b + 1].double().repeat(2, 1), torch.tensor([0, 1])) for b in range(4)]
    np.testing.assert_allclose(_noise(linear, batches).noise[:2], 1, atol=1e-12)


def test_a_batch_is_not_held_against_its_own_fold(linear: nn.Module) -> None:
    # batches 0 and 8 share a fold and a direction; held against themselves they would look noise-free
    batches = [_batch([[1.0, 0, 0, 0]], [0 if b in (0, 8) else 1]) for b in range(9)]
    found = _noise(linear, batches)
    assert np.isnan(found.noise[0])
    assert found.noise[1] == pytest.approx(0, abs=1e-12)
    assert np.isnan(found.noise[2])
    np.testing.assert_allclose(found.absent, [7 / 9, 2 / 9, 1])


def test_equals_the_definition() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    batches = [(torch.randn(6, 4).double(), torch.randint(3, (6,))) for _ in range(12)]
    sums = torch.zeros(12, 3, sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    for b, (inputs, target) in enumerate(batches):
        for k in target.unique().tolist():
            loss = F.cross_entropy(model(inputs[target == k]), target[target == k], reduction="sum")
            found = torch.autograd.grad(loss, list(model.parameters()))
            sums[b, k] = torch.cat([g.flatten() for g in found])
    expected = []
    for k in range(3):
        cosines = []
        for b in range(12):
            if (batches[b][1] == k).any():
                others = sum(sums[other, k] for other in range(12) if other % 8 != b % 8)
                cosines.append(torch.cosine_similarity(sums[b, k], others, 0))
        expected.append(1 - torch.stack(cosines).mean())
    np.testing.assert_allclose(_noise(model, batches).noise, expected, atol=1e-6)


def test_labels_without_a_logit_are_refused(linear: nn.Module) -> None:
    with pytest.raises(InputError, match=r"target must be in \[0, 3\), the model's logits, got 3"):
        _noise(linear, [_batch([[1.0, 0, 0, 0]], [3])])


def test_it_is_measured_only_where_batches_are_given(linear: nn.Module) -> None:
    assert measure(linear, [(torch.randn(12, 4), torch.arange(12) % 3)], "all").noise is None
