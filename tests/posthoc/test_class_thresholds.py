import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score
from torch import Tensor

from tailgrad.posthoc import ClassThresholds
from tailgrad.posthoc.objectives import Gains, MacroF1

COST = np.array([[0.0, 5, 9, 1], [1, 0, 3, 1], [1, 2, 0, 1], [2, 2, 2, 0]])
CRITERIA = ("macro_f1", "balanced_accuracy", "cost")


def _data(seed: int, n: int = 80, k: int = 3, digits: int = 5) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    target = np.append(np.arange(k), rng.choice(k, n - k, p=np.arange(k, 0, -1) / (k * (k + 1) / 2)))
    logits = rng.normal(size=(n, k)) + np.linspace(2, -2, k)
    logits[np.arange(n), target] += 1.5
    return torch.from_numpy(logits.round(digits)).float(), torch.from_numpy(target)


def _figure(criterion: str, logits: Tensor, target: Tensor) -> float:
    predicted, y = logits.argmax(1).numpy(), target.numpy()
    if criterion == "cost":
        return -float(COST[predicted, y].mean())
    if criterion == "macro_f1":
        return float(f1_score(y, predicted, average="macro", labels=np.unique(y), zero_division=0))
    return float(balanced_accuracy_score(y, predicted))


def _method(criterion: str, k: int, sweeps: int = 20) -> ClassThresholds:
    if criterion == "cost":
        return ClassThresholds(cost=COST[:k, :k], sweeps=sweeps)
    return ClassThresholds(criterion=criterion, sweeps=sweeps)


@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), digits=st.sampled_from([1, 5]))
def test_two_classes_reach_the_best_of_all_cuts(criterion: str, seed: int, digits: int) -> None:
    logits, target = _data(seed, 25, 2, digits)
    gaps = (logits[:, 0] - logits[:, 1]).unique()
    cuts = torch.cat([gaps[:1] - 1, (gaps[1:] + gaps[:-1]) / 2, gaps[-1:] + 1])
    parted = [cut for cut in cuts if (gaps - cut).abs().min() > 1e-4]
    best = max(_figure(criterion, logits + torch.tensor([0.0, float(c)]), target) for c in [0.0, *parted])
    found = _figure(criterion, _method(criterion, 2).fit(logits, target).transform(logits), target)
    assert found >= best - 1e-9


@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_no_single_offset_improves_and_the_figure_never_falls(criterion: str, seed: int) -> None:
    logits, target = _data(seed, 40, 4)
    method = _method(criterion, 4).fit(logits, target)
    found = _figure(criterion, method.transform(logits), target)
    assert found >= _figure(criterion, logits, target) - 1e-9
    for k, move in itertools.product(range(4), (-2, -0.5, -0.1, 0.1, 0.5, 2)):
        moved = method.transform(logits)
        others = moved.clone()
        others[:, k] = -torch.inf
        last = (others.max(1).values - moved[:, k])[target == k].max()
        moved[:, k] += move
        # For macro-F1 no class goes beyond its own last example, to collect mistakes of others.
        if criterion != "macro_f1" or move <= max(last, 0):
            assert _figure(criterion, moved, target) <= found + 1e-9


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(["macro_f1", "gains"]))
def test_objectives_follow_the_figure(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    target, rival = rng.integers(0, 4, 30), rng.integers(1, 4, 30)
    order = rng.permutation(30)[:20]
    objective = MacroF1(target, 4) if name == "macro_f1" else Gains(-COST.T / 30, target)
    found = objective.along(rival, 0, order)
    expected = []
    for changed in range(21):
        predicted = rival.copy()
        predicted[order[:changed]] = 0
        one_hot = torch.eye(4)[torch.from_numpy(predicted)]
        expected.append(
            _figure("macro_f1" if name == "macro_f1" else "cost", one_hot, torch.from_numpy(target))
        )
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=1e-12)
    if name == "macro_f1":
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_ties_keep_zero() -> None:
    logits, target = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]), torch.arange(3)
    for criterion in ("macro_f1", "balanced_accuracy"):
        assert ClassThresholds(criterion=criterion).fit(logits, target).offsets.tolist() == [0, 0, 0]
    assert ClassThresholds().fit(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])).offsets.tolist() == [0, 0]


def test_absent_classes_keep_zero() -> None:
    logits, target = _data(1, k=4)
    kept = target != 2
    offsets = ClassThresholds().fit(logits[kept], target[kept]).offsets
    assert offsets[2] == 0
    assert offsets.count_nonzero() > 0


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_coarse_and_large_logits_keep_their_figure(scale: float) -> None:
    logits, target = _data(2, 300, 4)
    coarse = (logits * scale).bfloat16()
    method = ClassThresholds(criterion="balanced_accuracy").fit(coarse, target)
    found = _figure("balanced_accuracy", method.transform(coarse), target)
    assert found > _figure("balanced_accuracy", coarse.float(), target) + 0.03


def test_correction_is_minus_the_offsets() -> None:
    method = ClassThresholds().fit(*_data(3))
    correction = method.correction()
    assert correction.kind == "test_shift"
    assert correction.log_shift == pytest.approx((-method.offsets).tolist())
