"""How often classes are drawn: worked numbers, schedules and batches."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailgrad.samplers import (
    ClassAwareSampler,
    ClassBalancedSampler,
    CooldownSampler,
    DeferredSampler,
    MPerClassSampler,
    OverSampler,
    PowerSampler,
    ProgressiveSampler,
    ReversedSampler,
    SquareRootSampler,
    StratifiedSampler,
    TwoPhaseSampler,
    UnderSampler,
)

TARGET = np.repeat([0, 1, 2], [100, 10, 1])
NATURAL, ROOT, EVEN = (0.900901, 0.090090, 0.009009), (0.706101, 0.223289, 0.070610), (1 / 3,) * 3
Many = st.lists(st.integers(1, 60), min_size=2, max_size=6)


def _q(sampler: Any) -> NDArray[np.float64]:
    pi = np.bincount(TARGET) / len(TARGET)
    return pi * np.exp(sampler.correction().log_shift)


@pytest.mark.parametrize(
    ("sampler", "q"),
    [
        (PowerSampler(TARGET, power=1.0), NATURAL),
        (PowerSampler(TARGET, power=0.5), ROOT),
        (SquareRootSampler(TARGET), ROOT),
        (PowerSampler(TARGET, power=0.0), EVEN),
        (ClassBalancedSampler(TARGET), EVEN),
        (ReversedSampler(TARGET), tuple(np.array([0.01, 0.1, 1]) / 1.11)),
        (ReversedSampler(TARGET, alpha=0.5), tuple(np.array([0.1, 10**-0.5, 1]) / (1.1 + 10**-0.5))),
        (ReversedSampler(TARGET, per="example"), EVEN),
        (ReversedSampler(TARGET, alpha=0.5, per="example"), ROOT),
        (ReversedSampler(TARGET, alpha=0.0), EVEN),
        (ProgressiveSampler(TARGET, epochs=9), EVEN),
        (DeferredSampler(TARGET), EVEN),
        (CooldownSampler(TARGET, epochs=9), NATURAL),
        (TwoPhaseSampler(TARGET, phase=2), NATURAL),
        (OverSampler(TARGET), EVEN),
        (OverSampler(TARGET, ratio=0.1), tuple(np.array([100, 10, 10]) / 120)),
        (UnderSampler(TARGET), EVEN),
        (UnderSampler(TARGET, ratio=20.5), tuple(np.array([20, 10, 1]) / 31)),
    ],
)
def test_worked_numbers(sampler: Any, q: tuple[float, ...]) -> None:
    np.testing.assert_allclose(_q(sampler), q, atol=6e-7)


@pytest.mark.parametrize("power", [-400.0, 400.0])
def test_a_steep_power_stays_finite(power: float) -> None:
    sampler = PowerSampler(TARGET, power=power)
    assert np.isfinite(sampler.correction().log_shift).all()
    assert set(TARGET[list(sampler)]) == ({2} if power < 0 else {0})


def test_schedules_pass_through_the_states_of_their_formulas() -> None:
    progressive, cooldown = ProgressiveSampler(TARGET, epochs=5), CooldownSampler(TARGET, epochs=5)
    states = {1: (NATURAL, EVEN), 3: ((0.617117, 0.211712, 0.171171), ROOT), 5: (EVEN, NATURAL)}
    states |= {0: states[1], 8: states[5]}
    for epoch, wanted in states.items():
        for sampler, q in zip((progressive, cooldown), wanted, strict=True):
            sampler.set_epoch(epoch)
            np.testing.assert_allclose(sampler.log_frequencies_now().exp(), q, atol=6e-7)
    rare = []
    for epoch in range(1, 6):
        progressive.set_epoch(epoch)
        rare.append((TARGET[list(progressive)] == 2).sum())
    assert rare[0] < 8
    assert rare[4] > 15  # 1 and 37 expected
    for single in (ProgressiveSampler(TARGET, epochs=1), CooldownSampler(TARGET, epochs=1)):
        np.testing.assert_allclose(single.log_frequencies_now(), single.log_frequencies(), atol=1e-12)


def test_deferred_sampling_switches_after_its_epochs() -> None:
    sampler = DeferredSampler(TARGET, defer=2)
    for epoch in (0, 1, 2):
        sampler.set_epoch(epoch)
        assert sorted(sampler) == list(range(111))
    sampler.set_epoch(3)
    assert (TARGET[list(sampler)] == 2).sum() > 15


@pytest.mark.parametrize(("per_class", "size"), [(None, 3), (5, 11), (1000, 111)])
def test_two_phases_keep_one_subset_and_then_take_all(per_class: int | None, size: int) -> None:
    sampler = TwoPhaseSampler(TARGET, phase=2, per_class=per_class, seed=4)
    subsets = []
    for epoch in (1, 2, 3):
        sampler.set_epoch(epoch)
        times = np.bincount(list(sampler), minlength=111)
        subsets.append(set(np.flatnonzero(times)))
        assert np.ptp(times[times > 0]) <= 1
    assert subsets[0] == subsets[1] <= subsets[2] == set(range(111))
    assert len(subsets[0]) == size
    other = set(TwoPhaseSampler(TARGET, phase=2, per_class=5, seed=5))
    assert (other == subsets[0]) == (per_class == 1000 and len(other) == 111)


@settings(max_examples=60)
@given(counts=Many, extra=st.integers(0, 12), seed=st.integers(0, 99))
def test_every_stratified_batch_holds_every_class(counts: list[int], extra: int, seed: int) -> None:
    target, k = np.repeat(np.arange(len(counts)), counts), len(counts)
    size = k + extra
    sampler = StratifiedSampler(target, batch_size=size, seed=seed)
    order = np.array(list(sampler)).reshape(-1, size)
    batches = np.stack([np.bincount(target[row], minlength=k) for row in order])
    assert batches.min() >= 1
    assert np.ptp(batches, axis=0).max() <= 1
    # Shares by hand: the smallest lambda that fills all places, found by bisection.
    places, floor = order.size, len(order)
    low, high = 0.0, float(places)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if np.maximum(floor, middle * np.array(counts)).sum() < places else (low, middle)
        )
    shares = np.maximum(floor, low * np.array(counts))
    assert np.abs(batches.sum(0) - shares).max() <= 1 + 1e-6
    q = np.exp(sampler.correction().log_shift) * counts / np.sum(counts)
    np.testing.assert_allclose(q, shares / places, rtol=1e-6)
    _uses_examples_evenly(order.ravel(), target)


def test_stratified_batches_are_natural_where_no_class_is_too_rare() -> None:
    target = np.repeat([0, 1, 2], [64, 24, 8])
    sampler = StratifiedSampler(target, batch_size=12)
    assert sampler.correction().log_shift == pytest.approx((0, 0, 0), abs=1e-12)
    order = list(sampler)
    assert sorted(order) == list(range(96))
    assert {tuple(np.bincount(target[row])) for row in np.array(order).reshape(-1, 12)} == {(8, 3, 1)}


@settings(max_examples=40)
@given(counts=Many, m=st.integers(1, 4), chosen=st.integers(1, 6), seed=st.integers(0, 99))
def test_m_examples_of_each_class_in_a_batch(counts: list[int], m: int, chosen: int, seed: int) -> None:
    target, k = np.repeat(np.arange(len(counts)), counts), len(counts)
    size = m * min(chosen, k)
    order = np.array(list(MPerClassSampler(target, batch_size=size, m=m, seed=seed))).reshape(-1, size)
    for row in order:
        held = np.bincount(target[row], minlength=k)
        assert set(held[held > 0]) == {m}
        for label in np.flatnonzero(held):
            assert len(set(row[target[row] == label])) == min(m, counts[label])
    _uses_examples_evenly(order.ravel(), target)


@settings(max_examples=40)
@given(counts=Many, n=st.integers(1, 5), seed=st.integers(0, 99))
def test_class_aware_rounds_hold_every_class(counts: list[int], n: int, seed: int) -> None:
    target, k = np.repeat(np.arange(len(counts)), counts), len(counts)
    order = np.array(list(ClassAwareSampler(target, samples_per_class=n, seed=seed)))
    drawn = target[order]
    for start in range(0, len(order) - k * n + 1, k * n):
        round_ = drawn[start : start + k * n].reshape(k, n)
        assert sorted(round_[:, 0]) == list(range(k))
        assert (round_ == round_[:, :1]).all()
    assert len(order) == len(target)
    _uses_examples_evenly(order, target)


@settings(max_examples=40)
@given(counts=Many, ratio=st.floats(0, 1), seed=st.integers(0, 99))
def test_over_and_under_sampling(counts: list[int], ratio: float, seed: int) -> None:
    target = np.repeat(np.arange(len(counts)), counts)
    over = np.array(list(OverSampler(target, ratio=ratio, seed=seed)))
    assert np.bincount(target[over]).tolist() == [max(n, int(np.ceil(ratio * max(counts)))) for n in counts]
    assert set(over) == set(range(len(target)))
    _uses_examples_evenly(over, target)
    under = list(UnderSampler(target, ratio=1 + 3 * ratio, seed=seed))
    wanted = [min(n, int((1 + 3 * ratio) * min(counts))) for n in counts]
    assert np.bincount(target[under]).tolist() == wanted
    assert len(set(under)) == len(under)


def _uses_examples_evenly(order: NDArray[np.int64], target: NDArray[np.int64]) -> None:
    times = np.bincount(order, minlength=len(target))
    for label in np.unique(target):
        assert np.ptp(times[target == label]) <= 1
