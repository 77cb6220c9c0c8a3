import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.losses import SeesawLoss, frozen

LOGITS = torch.tensor([[2.0, 1.0, 0.0]] * 3, dtype=torch.float64)
TARGET = torch.arange(3)
COUNTS = [100, 10, 1]


def _batch(seed: int, k: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(6, k, generator=generator, dtype=torch.float64)
    return logits, torch.randint(k, (6,), generator=generator)


def _definition(z: Tensor, y: int, n: list[float], p: float, q: float, eps: float) -> Tensor:
    """One example, read off the formula."""
    probability = z.detach().softmax(0)
    total = z[y].exp()
    for j in range(len(z)):
        if j == y:
            continue
        mitigation = (n[j] / n[y]) ** p if n[j] < n[y] else 1.0
        compensation = 1.0
        if probability[j] > max(float(probability[y]), eps):
            compensation = (float(probability[j]) / max(float(probability[y]), eps)) ** q
        total = total + mitigation * compensation * z[j].exp()
    return total.log() - z[y]


def test_worked_numbers() -> None:
    losses = SeesawLoss(COUNTS, counting="fixed", reduction="none")(LOGITS, TARGET)
    assert losses.tolist() == pytest.approx([0.059876, 3.051349, 6.050946], abs=1e-6)


@given(
    st.lists(st.sampled_from([1, 2, 2, 7, 50, 900]), min_size=2, max_size=7),
    st.integers(0, 10**6),
    st.floats(0, 2),
    st.floats(0, 3),
    st.sampled_from([0.01, 0.3, 0.6]),
)
@settings(max_examples=40)
def test_is_the_formula_for_indices_and_probabilities(
    counts: list[int], seed: int, p: float, q: float, eps: float
) -> None:
    logits, target = _batch(seed, len(counts))
    logits.requires_grad_()
    loss = SeesawLoss(counts, p=p, q=q, eps=eps, counting="fixed")
    n = [float(c) for c in counts]
    each = [[_definition(z, k, n, p, q, eps) for k in range(len(n))] for z in logits]
    table = torch.stack([torch.stack(row) for row in each])
    soft = F.softmax(_batch(seed + 1, len(counts))[0], 1)
    for wanted, given_target in [
        (table.gather(1, target[:, None]).mean(), target),
        ((soft * table).sum(1).mean(), soft),
    ]:
        found = loss(logits, given_target)
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
        ours, theirs = (torch.autograd.grad(v, logits, retain_graph=True)[0] for v in (found, wanted))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 10**6))
def test_reduces_to_cross_entropy(seed: int) -> None:
    logits, target = _batch(seed, 3)
    plain = SeesawLoss(COUNTS, p=0.0, q=0.0)(logits, target)
    torch.testing.assert_close(plain, F.cross_entropy(logits, target))
    best = logits.argmax(1)
    equal = SeesawLoss([5, 5, 5], counting="fixed")(logits, best)
    torch.testing.assert_close(equal, F.cross_entropy(logits, best))


def test_compensation_is_held_constant() -> None:
    logits = LOGITS[:1].clone().requires_grad_()
    SeesawLoss(COUNTS, counting="fixed")(logits, torch.tensor([1])).backward()
    factors = torch.tensor([math.e**2, 1, 10**-0.8])
    q = factors * LOGITS[0].exp()
    expected = q / q.sum() - torch.tensor([0, 1, 0])
    torch.testing.assert_close(logits.grad[0], expected, rtol=1e-6, atol=1e-6)


def test_running_counts_start_at_nothing_and_count_this_batch() -> None:
    loss = SeesawLoss(COUNTS, reduction="none")
    assert loss.seen.tolist() == [0, 0, 0]
    target = torch.tensor([0, 0, 1, 0])
    found = loss(LOGITS[:1].expand(4, 3), target)
    assert loss.seen.tolist() == [3, 1, 0]
    fixed = SeesawLoss([3, 1, 1], counting="fixed", reduction="none")
    torch.testing.assert_close(found, fixed(LOGITS[:1].expand(4, 3), target))
    loss(LOGITS, torch.tensor([[0.5, 0.5, 0.0]] * 3, dtype=torch.float64))
    assert loss.seen.tolist() == [4.5, 2.5, 0]


def test_counts_may_continue_or_stay() -> None:
    continued, fixed = (SeesawLoss(COUNTS, counting=how) for how in ("continued", "fixed"))
    for loss in (continued, fixed):
        loss(LOGITS, TARGET)
    assert continued.seen.tolist() == [101, 11, 2]
    assert fixed.seen.tolist() == COUNTS


def test_counts_travel_with_the_state_and_move_only_in_training_steps() -> None:
    loss, other = SeesawLoss(COUNTS), SeesawLoss(COUNTS)
    loss(LOGITS, TARGET)
    other.load_state_dict(loss.state_dict())
    with torch.no_grad():
        loss(LOGITS, TARGET)
    with frozen(loss):
        loss(LOGITS, TARGET)
    loss.eval()(LOGITS, TARGET)
    assert loss.seen.tolist() == [1, 1, 1]
    skewed = torch.zeros(3, dtype=torch.long)
    torch.testing.assert_close(loss.train()(LOGITS, skewed), other(LOGITS, skewed))
    assert other.seen.tolist() == [4, 1, 1]


def test_counts_are_summed_over_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailgrad.losses.seesaw.sum_over_ranks", lambda counts: 2 * counts)
    loss = SeesawLoss(COUNTS)
    loss(LOGITS, torch.tensor([0, 0, 2]))
    assert loss.seen.tolist() == [4, 0, 2]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("options", [{}, {"p": 4.0, "q": 17.0}])
def test_hard_logits_and_counts_stay_finite(soft: bool, options: dict[str, Any]) -> None:
    loss = SeesawLoss([10**7, 1, 1, 40], counting="fixed", reduction="none", **options)
    logits = torch.tensor([[1e4, -1e4, 0.0, 0.0], [-1e4, 1e4, 1e4, 9e3], [0, 0, 0, 0]]).requires_grad_()
    for k in range(4):
        target = torch.full((3,), k)
        value = loss(logits, F.one_hot(target, 4).float() if soft else target)
        assert value.isfinite().all()
        assert torch.autograd.grad(value.sum(), logits)[0].isfinite().all()
        torch.testing.assert_close(value, loss(logits, target), rtol=1e-5, atol=1e-3)


def test_soft_targets_of_a_thousand_classes_equal_indices() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(1, 1000, (1000,), generator=generator).tolist()
    logits = 3 * torch.randn(4, 1000, generator=generator, dtype=torch.float64)
    logits[0] = 0
    loss = SeesawLoss(counts, counting="fixed", reduction="none")
    first, second = torch.tensor([0, 1, 2, 3]), logits.argmax(1)
    mixed = 0.3 * F.one_hot(first, 1000) + 0.7 * F.one_hot(second, 1000)
    expected = 0.3 * loss(logits, first) + 0.7 * loss(logits, second)
    torch.testing.assert_close(loss(logits, mixed.double()), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "class_counts must be given to SeesawLoss"),
        ({"class_counts": COUNTS, "counting": "fix"}, "did you mean 'fixed'"),
        ({"class_counts": COUNTS, "p": -1.0}, "p must be in"),
        ({"class_counts": COUNTS, "q": 18.0}, r"q must be in \[0, 17.37"),
        ({"class_counts": COUNTS, "eps": 0.0}, r"eps must be in \(0, 1\), got 0.0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SeesawLoss(**arguments)


def test_correction_is_listed() -> None:
    assert SeesawLoss(COUNTS).correction().kind == "listed"
