import math

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from tailgrad.posthoc import TemperatureScaling


def test_worked_probabilities() -> None:
    method = TemperatureScaling()
    method.temperature = torch.tensor(2.0)
    found = method.transform(torch.tensor([[2.0, 1.0, 0.0]])).softmax(1)[0]
    assert found.tolist() == pytest.approx([0.506480, 0.307196, 0.186324], abs=1e-6)
    assert method.correction() is None


def test_equals_scikit_learn() -> None:
    pytest.importorskip("sklearn", minversion="1.8", reason="its temperature scaling came with 1.8")
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(300, 4)), rng.integers(0, 3, 300)
    x[np.arange(300), target] += 1
    model = LogisticRegression(C=1e3).fit(x[:60], target[:60])
    # Overconfident on purpose.
    model.coef_ *= 4
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(x, target)
    logits = model.decision_function(x)
    ours = TemperatureScaling().fit(logits, target)
    assert ours.temperature.item() > 1.5
    np.testing.assert_allclose(
        torch.from_numpy(ours.transform(logits)).softmax(1).numpy(), theirs.predict_proba(x), atol=1e-4
    )


@pytest.mark.parametrize("balanced", [False, True])
def test_nothing_is_likelier(balanced: bool) -> None:
    torch.manual_seed(0)
    target = torch.tensor([0] * 60 + [1] * 30 + [2] * 5)
    logits = 3 * torch.randn(95, 3) + 2 * F.one_hot(target, 3)
    best = TemperatureScaling(balanced=balanced).fit(logits, target).temperature.item()
    weight = 1 / target.bincount().double() if balanced else None

    def nll(temperature: float) -> float:
        return F.cross_entropy(logits.double() / temperature, target, weight).item()

    assert nll(best) <= min(nll(best * factor) for factor in (0.5, 0.99, 0.999, 1.001, 1.01, 2))
    other = TemperatureScaling(balanced=not balanced).fit(logits, target).temperature.item()
    assert abs(other - best) > 1e-3


def test_logits_that_are_all_equal_stay_as_they_are() -> None:
    method = TemperatureScaling().fit(torch.full((4, 3), 2.0), torch.tensor([0, 1, 2, 0]))
    assert method.temperature == 1


def test_flawless_and_reversed_models_end_at_the_bounds() -> None:
    logits, target = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    assert TemperatureScaling().fit(logits, target).temperature.item() == pytest.approx(math.exp(-10))
    assert TemperatureScaling().fit(-logits, target).temperature.item() == pytest.approx(math.exp(10))
