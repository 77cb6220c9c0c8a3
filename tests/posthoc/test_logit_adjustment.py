import math

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from tailgrad.posthoc import LogitAdjustment
from tailgrad.posthoc.strength import GRID

COUNTS = [100, 10, 1]
LOGITS = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)


def test_worked_scores() -> None:
    scores = LogitAdjustment(COUNTS).transform(LOGITS)[0]
    assert scores.tolist() == pytest.approx([2.104360, 3.406945, 4.709530], abs=1e-6)
    assert torch.equal(LogitAdjustment(COUNTS, tau=0).transform(LOGITS), LOGITS)


def test_correction_is_tau_log_pi() -> None:
    correction = LogitAdjustment(COUNTS, tau=1.5).correction()
    assert correction.kind == "test_shift"
    assert correction.log_shift == pytest.approx([1.5 * math.log(n / 111) for n in COUNTS], rel=1e-6)


@pytest.mark.parametrize("criterion", ["balanced_accuracy", "macro_f1"])
def test_tuned_tau_is_the_least_of_the_best_on_the_grid(criterion: str) -> None:
    rng = np.random.default_rng(3)
    prior = np.array([0.7, 0.2, 0.1])
    # Logits that hold the prior one and a half times over.
    target = rng.choice(3, 400, p=prior)
    logits = np.eye(3)[target] + rng.normal(size=(400, 3)) * 0.8 + 1.5 * np.log(prior)
    method = LogitAdjustment([70, 20, 10], tau="tuned", criterion=criterion).fit(logits, target)
    figure = {
        "balanced_accuracy": balanced_accuracy_score,
        "macro_f1": lambda y, p: f1_score(y, p, average="macro"),
    }[criterion]
    figures = [figure(target, (logits - tau * np.log(prior)).argmax(1)) for tau in GRID]
    assert method.tau.item() == pytest.approx(GRID[int(np.argmax(figures))])
    assert 0.5 < method.tau.item() < 3
    assert (GRID[0], GRID[-1]) == (0, 3)
