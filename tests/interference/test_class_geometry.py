"""Angles between class means."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tailgrad.interference import measure
from tailgrad.interference.geometry import class_geometry
from tailgrad.types import Output


class _WithFeatures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Dropout()), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))

    def outputs(self, x: Tensor) -> Output:
        features = self.backbone(x)
        return Output(self.head(features), features)


def test_forty_five_degrees() -> None:
    geometry = class_geometry(np.array([[1.0, 0, 0], [1, 1, 0]]))
    np.testing.assert_allclose(geometry.angles, [[0, 45], [45, 0]], atol=1e-6)
    np.testing.assert_allclose(geometry.centred_angles, [[0, 180], [180, 0]], atol=1e-6)


def test_a_shifted_simplex_is_equiangular_once_centred() -> None:
    geometry = class_geometry(np.eye(5) + 20)
    off = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(geometry.centred_angles[off], np.degrees(np.arccos(-1 / 4)), rtol=1e-9)
    assert geometry.angles[off].max() < 3


def test_parallel_means_give_zero_not_nan() -> None:
    vector = np.array([0.1, 0.7, 0.3])
    angles = class_geometry(np.stack([vector, 3 * vector, vector * 1e-9])).angles
    np.testing.assert_allclose(angles, 0, atol=1e-5)


def test_class_means_of_a_model(perceptron: nn.Module) -> None:
    torch.manual_seed(0)
    model, inputs = _WithFeatures().double(), torch.randn(30, 6).double()
    target = torch.tensor([0] * 20 + [1] * 8 + [3] * 2)
    geometry = measure(model, list(zip(inputs.split(7), target.split(7), strict=True))).geometry
    assert geometry is not None
    with torch.no_grad():
        features = model.eval().backbone(inputs)
    for k in (0, 1, 3):
        np.testing.assert_allclose(geometry.means[k], features[target == k].mean(0), rtol=1e-12)
    assert np.isnan(geometry.angles[2]).all()
    centred = geometry.means - np.nanmean(geometry.means, 0)  # every class counts the same
    a, b = centred[0], centred[3]
    expected = np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    assert geometry.centred_angles[0, 3] == pytest.approx(expected)
    assert measure(perceptron, [(inputs, target)]).geometry is None
