import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.posthoc import (
    AffineGroupCorrection,
    Chain,
    ClassThresholds,
    CostMatrix,
    LogitAdjustment,
    PredictionRebalancing,
    TemperatureScaling,
)
from tailgrad.recipes.components import components

COUNTS = [60, 20, 5]
COST = [[0, 2, 9], [1, 0, 3], [1, 1, 0]]
METHODS: dict[str, Callable[..., Any]] = {
    "affine": lambda counts=COUNTS: AffineGroupCorrection(counts),
    "chain": lambda counts=COUNTS: Chain([LogitAdjustment(counts, tau="tuned"), TemperatureScaling()]),
    "class_thresholds": lambda counts=COUNTS: ClassThresholds(counts),
    "cost_thresholds": lambda counts=COUNTS: ClassThresholds(counts, cost=COST),
    "cost_matrix": lambda counts=COUNTS: CostMatrix(counts, cost=COST),
    "logit_adjustment": lambda counts=COUNTS: LogitAdjustment(counts),
    "tuned": lambda counts=COUNTS: LogitAdjustment(counts, tau="tuned"),
    "rebalancing": lambda counts=COUNTS: PredictionRebalancing(counts, tau="tuned"),
    "streaming": lambda counts=COUNTS: PredictionRebalancing(counts, mode="streaming"),
    "temperature": lambda counts=COUNTS: TemperatureScaling(counts),
    "transductive": lambda counts=COUNTS: PredictionRebalancing(counts, mode="transductive"),
}
NEEDS_FIT = set(METHODS) - {"cost_matrix", "logit_adjustment", "streaming", "transductive"}
WITHOUT_COUNTS = ("class_thresholds", "cost_thresholds", "cost_matrix", "rebalancing", "temperature")


def data(n: int = 90, k: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prior = torch.tensor([1.0 / (c + 1) ** 2 for c in range(k)])
    target = torch.cat([torch.arange(k), prior.multinomial(n - k, True, generator=generator)])
    logits = torch.randn(n, k, generator=generator) + prior.log()
    logits[torch.arange(n), target] += 1.5
    return logits, target


def test_every_exported_method_is_here() -> None:
    assert {type(make()) for make in METHODS.values()} - {Chain} == set(components("posthoc").values())


@pytest.mark.parametrize("name", METHODS)
def test_a_second_fit_forgets_the_first(name: str) -> None:
    twice = METHODS[name]().fit(*data(seed=3)).fit(*data())
    once, fresh = METHODS[name]().fit(*data()), data(20, seed=1)[0]
    assert torch.equal(twice.transform(fresh), once.transform(fresh))
    again = once.transform(fresh)
    assert torch.equal(again, twice.transform(fresh))
    assert torch.equal(again, once.transform(fresh)) is (name != "streaming")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_moves_to_a_gpu_and_is_fitted_there(name: str) -> None:
    logits, target = data()
    here, there = (
        METHODS[name]().fit(logits, target),
        METHODS[name]().cuda().fit(logits.cuda(), target.cuda()),
    )
    found = there.transform(logits.cuda())
    assert found.is_cuda
    assert all(buffer.is_cuda for buffer in there.buffers())
    torch.testing.assert_close(found.cpu(), here.transform(logits), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_tensors_and_arrays_give_the_same_in_their_own_kind(name: str) -> None:
    logits, target = data()
    by_tensor = METHODS[name]().fit(logits, target)
    array = logits.numpy()[::-1][::-1]
    array.flags.writeable = False
    by_array = METHODS[name]().fit(array, target.numpy())
    found, expected = by_array.transform(array), by_tensor.transform(logits)
    assert isinstance(found, np.ndarray)
    assert expected.shape == logits.shape
    torch.testing.assert_close(torch.from_numpy(found), expected)
    assert by_tensor.transform(logits.bfloat16()).dtype == torch.float32
    assert METHODS[name]().fit(logits.double(), target).transform(logits.double()).dtype == torch.float64


@pytest.mark.parametrize("name", METHODS)
def test_predictions_do_not_depend_on_the_batch_unless_marked(name: str) -> None:
    method = METHODS[name]().fit(*data())
    fresh = 2 * data(40, seed=1)[0]
    whole = copy.deepcopy(method).transform(fresh)
    order = torch.randperm(40)
    alone = torch.cat([copy.deepcopy(method).transform(row[None]) for row in fresh])
    shuffled = copy.deepcopy(method).transform(fresh[order][:7])
    same = torch.allclose(whole, alone, atol=1e-6) and torch.allclose(whole[order][:7], shuffled, atol=1e-6)
    assert same is not method.transductive
    assert method.transductive is (name in {"streaming", "transductive"})


@pytest.mark.parametrize("name", METHODS)
def test_the_state_carries_the_fit(name: str) -> None:
    method = METHODS[name]().fit(*data())
    other = copy.deepcopy(METHODS[name]())
    other.load_state_dict(method.state_dict())
    assert other.correction() == method.correction()
    fresh = data(20, seed=1)[0]
    assert torch.equal(other.transform(fresh), method.transform(fresh))
    assert not list(method.parameters())


@pytest.mark.parametrize("name", WITHOUT_COUNTS)
def test_counts_may_be_left_out(name: str) -> None:
    logits, target = data()
    method = METHODS[name](None).fit(logits, target)
    other = METHODS[name](None)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.transform(logits), METHODS[name]().fit(logits, target).transform(logits))


@pytest.mark.parametrize("name", METHODS)
def test_a_module_call_is_the_transform_and_lets_gradients_through(name: str) -> None:
    method = METHODS[name]().fit(*data())
    fresh = data(20, seed=1)[0].requires_grad_()
    found = copy.deepcopy(method)(fresh)
    torch.testing.assert_close(found, method.transform(fresh))
    (found**2).sum().backward()
    assert fresh.grad is not None
    assert torch.isfinite(fresh.grad).all()


@pytest.mark.parametrize("name", METHODS)
def test_the_ledger_entry_has_one_number_a_class(name: str) -> None:
    before, after = METHODS[name]().correction(), METHODS[name]().fit(*data()).correction()
    assert before is None or len(before.log_shift) == 3
    if name in NEEDS_FIT - {"temperature", "cost_matrix"}:
        assert before.kind == "listed"
        assert after.kind == "test_shift"
        assert len(after.log_shift) == 3


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("logits", "target", "words"),
    [
        (torch.zeros(2, 3), torch.eye(3)[:2], r"class indices \[2\], got torch.float32 \[2, 3\]"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), r"target\[1\]=3"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), r"target\[1\]=-1"),
        (torch.zeros(2, 3), torch.tensor([0]), r"\[2\], got torch.int64 \[1\]"),
        (torch.zeros(0, 3), torch.zeros(0).long(), "at least one example"),
        (torch.zeros(3), torch.zeros(3).long(), r"\[N, K\]"),
        (torch.zeros(2, 1), torch.zeros(2).long(), "K at least 2"),
        (torch.tensor([[0.0, 1.0, 2.0], [0.0, torch.inf, 0.0]]), torch.tensor([0, 1]), r"logits\[1, 1\]=inf"),
        (torch.tensor([[torch.nan] * 3] * 2), torch.tensor([0, 1]), r"logits\[0, 0\]=nan"),
        (torch.zeros(2, 5), torch.tensor([0, 1]), r"\(3\), got 5"),
    ],
)
def test_fit_refuses_what_it_cannot_use(name: str, logits: Tensor, target: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        METHODS[name]().fit(logits, target)


@pytest.mark.parametrize("name", METHODS)
def test_transform_refuses_other_classes_and_an_unfitted_method(name: str) -> None:
    method = METHODS[name]()
    if name in NEEDS_FIT:
        with pytest.raises(InputError, match=r"must be fitted .* got no fit"):
            method.transform(torch.zeros(2, 3))
    else:
        assert method.transform(torch.zeros(2, 3)).shape == (2, 3)
    method.fit(*data())
    with pytest.raises(InputError, match=r"\(3\), got 5"):
        method.transform(torch.zeros(2, 5))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LogitAdjustment(COUNTS, tau=-1), r"tau must be in \[0, inf\], got -1"),
        (lambda: LogitAdjustment(COUNTS, tau="tune"), "'tuned', got 'tune'"),
        (lambda: LogitAdjustment(COUNTS, criterion="f1"), "criterion .* got 'f1'"),
        (lambda: LogitAdjustment([3, 0]), r"class_counts\[1\]=0"),
        (lambda: LogitAdjustment(), "class_counts must be given, got None"),
        (lambda: PredictionRebalancing(tau=-0.5), "got -0.5"),
        (lambda: PredictionRebalancing(mode="online"), "mode .* got 'online'"),
        (lambda: PredictionRebalancing(averaging="klass"), "did you mean 'class'"),
        (lambda: PredictionRebalancing(momentum=1.5), "momentum .* got 1.5"),
        (lambda: TemperatureScaling([0, 1]), r"class_counts\[0\]=0"),
        (lambda: ClassThresholds(sweeps=0), "sweeps .* got 0"),
        (lambda: ClassThresholds(COUNTS, cost=[[0, 1], [1, 0]]), r"cost must be \[3, 3\], got \[2, 2\]"),
        (lambda: CostMatrix(), "got None"),
        (lambda: CostMatrix(cost=[[0, 1, 2], [1, 0, 2]]), r"\[2, 2\], got \[2, 3\]"),
        (lambda: CostMatrix(cost=[[0, -1], [1, 0]]), r"cost\[0, 1\]=-1"),
        (lambda: CostMatrix(cost=[[0, torch.inf], [1, 0]]), r"cost\[0, 1\]=inf"),
        (lambda: AffineGroupCorrection(), "class_counts must be given"),
        (lambda: AffineGroupCorrection(COUNTS, tail=1.0), r"tail must be in \(0, 1\), got 1.0"),
        (lambda: AffineGroupCorrection(COUNTS, tail=[3]), "got 3"),
        (lambda: AffineGroupCorrection(COUNTS, tail=[0, 1, 2]), r"got \[0, 1, 2\]"),
    ],
)
def test_constructors_refuse_bad_arguments(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_a_thousand_classes() -> None:
    k = 1000
    logits, target = data(1500, k)
    counts = list(range(2 * k, k, -1))
    for method in (
        ClassThresholds(sweeps=1),
        PredictionRebalancing(counts),
        AffineGroupCorrection(counts),
        TemperatureScaling(),
    ):
        assert torch.isfinite(method.fit(logits, target).transform(logits)).all()
