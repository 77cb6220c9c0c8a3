"""How much every class is opposed, by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tailgrad.interference import Interference, agreement, measure, opposition


def _found(conflict: Any, null: Any, reliability: Any = None) -> Any:
    values = np.array(conflict, dtype=float)
    return SimpleNamespace(
        conflict=values,
        null=np.array(null, dtype=float),
        reliability=reliability,
        counts=np.ones(len(values)),
    )


def test_only_pairs_below_their_null_count() -> None:
    conflict = [[1, -0.5, 0.3], [-0.5, 1, -0.2], [0.3, -0.2, 1]]
    null = [[1, -0.1, -0.1], [-0.1, 1, -0.3], [-0.1, -0.3, 1]]
    # excess: 01 is -0.4, 02 is 0.4, 12 is 0.1
    assert opposition(_found(conflict, null)).tolist() == pytest.approx([0.2, 0.2, 0.0])


def test_an_unreliable_class_is_hardly_opposed() -> None:
    conflict, null = [[1, -0.3], [-0.3, 1]], [[1, -0.1], [-0.1, 1]]
    one = opposition(_found(conflict, null, np.array([1.0, 1.0])))
    # noise draws the cosine to 0 by sqrt(r_i r_j) = 0.5, and the null with it: twice as much excess is real
    other = opposition(_found(np.array(conflict) / 2, null, np.array([1.0, 0.25])))
    assert one.tolist() == pytest.approx([0.2, 0.2])
    assert other.tolist() == pytest.approx([0.1, 0.1])
    assert opposition(_found(conflict, null, np.array([1.0, 0.0]))).tolist() == [0.0, 0.0]


def test_of_a_measurement_it_is_the_mean_over_the_other_classes() -> None:
    torch.manual_seed(0)
    label = torch.arange(60) % 5
    net, data = torch.nn.Linear(6, 5), [(torch.randn(5, 6)[label] + 0.3 * torch.randn(60, 6), label)]
    found: Interference = measure(net, data, "all", folds=4)
    pull = agreement(found)
    expected = [sum(max(0.0, -pull[c, j]) for j in range(5) if j != c) / 4 for c in range(5)]
    assert opposition(found).tolist() == pytest.approx(expected)
    assert max(expected) > 0
