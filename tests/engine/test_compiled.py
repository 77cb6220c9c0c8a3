"""Compiled code runs for whole training batches and nowhere else, and changes nothing but the time."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.engine import (
    Auxiliary,
    Compiled,
    Learner,
    MonitoredStep,
    balanced_step,
    check_compiler,
    combined_step,
    gap_step,
    joint_objective,
    load_last,
    parts_of,
    save_last,
    sharp_step,
    supervised_step,
)
from tailgrad.interference import Monitor, measure
from tailgrad.losses import NTXentLoss
from tailgrad.models import Classifier, MultiExpert
from tailgrad.optim import SAM, ClassGradientOptimizer, GapWeights, PCGrad, ShareBalancer
from tailgrad.types import Batch

# Dynamo looks at gradients of what is no leaf and hides the warning, unless warnings are errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

SIZE = 6


class _Backbone(nn.Module):
    channels = pooled = 4
    grid = True
    stages = ("body",)
    input_size = None

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return features

    def pool(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Dynamo traces and runs graphs as ever, without the minutes of a C++ compiler; sizes of batches seen."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    seen: list[int] = []
    real = torch.compile

    def count(graph: Any, inputs: Any) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            seen.append(max(len(g) for g in given if isinstance(g, Tensor) and g.ndim in (2, 4)))
            return graph(*given)

        return run

    monkeypatch.setattr(
        torch, "compile", lambda call, dynamic, **_: real(call, backend=count, dynamic=dynamic)
    )
    yield seen
    torch._dynamo.reset()


def _net() -> Classifier:
    torch.manual_seed(0)
    return Classifier(_Backbone(), nn.Linear(4, 3))


def _learner(net: nn.Module, loss: nn.Module | None = None, *, compiled: bool = True) -> Learner:
    learner = Learner.plain(net, loss or nn.CrossEntropyLoss(), lr=0.1)
    for method in ("outputs", "mixed"):
        if hasattr(net, method):
            learner.model.mark_forward_method(method)  # type: ignore[operator]  # Fabric's
    learner.compiled = Compiled(parts_of(net), "default", SIZE) if compiled else None
    return learner


def _batch(n: int = SIZE, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.rand(n, 3, 32, 32, generator=generator), torch.arange(n) % 3, torch.arange(n))


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert list(a) == list(b)
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-5, atol=1e-6, msg=name)


def test_steps_are_those_of_the_network_as_written(traced: list[int]) -> None:
    one, other = _learner(_net()), _learner(_net(), compiled=False)
    for seed in range(3):
        for learner in (one, other):
            supervised_step(learner, _batch(seed=seed))
    assert traced == [SIZE] * 6  # backbone and head
    _assert_equal(_state(one.network), _state(other.network))


def test_batches_of_another_size_run_as_written(traced: list[int]) -> None:
    learner = _learner(_net())
    for n in (SIZE, 5, 4, 3, SIZE):
        supervised_step(learner, _batch(n))
    assert set(traced) == {SIZE}
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


def test_what_is_outside_a_step_runs_as_written(traced: list[int]) -> None:
    learner = _learner(_net())
    supervised_step(learner, _batch())
    before = len(traced)
    learner.model.eval()
    learner.network(_batch().inputs)
    learner.direct().loss_of(_batch().inputs, _batch().target)
    found = measure(learner.network, [(_batch().inputs, _batch().target)], folds=0)
    copied = copy.deepcopy(learner.network)
    torch.func.functional_call(copied, dict(copied.named_parameters()), (_batch().inputs,))
    assert len(traced) == before
    assert found.conflict.shape == (3, 3)
    assert all(m._compiled_call_impl is None for m in learner.network.modules())


def test_a_step_that_fails_leaves_the_modules_as_they_are(traced: list[int]) -> None:
    learner = _learner(_net())
    with pytest.raises(RuntimeError), learner.compiled.running(torch.zeros(SIZE, 1)):  # type: ignore[union-attr]
        raise RuntimeError
    assert all(m._compiled_call_impl is None for m in learner.network.modules())


@pytest.mark.parametrize("way", ["sam", "pcgrad"])
def test_optimisers_that_differentiate_by_themselves_see_the_network_as_written(
    traced: list[int], way: str
) -> None:
    found = []
    for compiled in (True, False):
        net = _net()
        learner = _learner(net, nn.CrossEntropyLoss(reduction="none"), compiled=compiled)
        plain = torch.optim.SGD(net.parameters(), lr=0.1)
        made: Any = SAM(net, plain) if way == "sam" else ClassGradientOptimizer(net, plain, PCGrad())
        learner.optimizer = learner.fabric.setup_optimizers(made)
        (sharp_step if way == "sam" else combined_step)(learner, _batch())
        found.append(_state(net))
    assert traced == []
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_gap_weights_take_a_compiled_network(traced: list[int]) -> None:
    found = []
    for compiled in (True, False):
        loss = nn.CrossEntropyLoss(reduction="none")
        loss.add_module("gap", GapWeights([1.0, 1.0, 1.0]))
        learner = _learner(_net(), loss, compiled=compiled)
        gap_step(learner, _batch())
        found.append(_state(learner.network))
    assert traced == [SIZE] * 2
    _assert_equal(*found)


def test_a_share_balancer_works_where_the_learner_is_not_compiled() -> None:
    loss = nn.CrossEntropyLoss()
    loss.add_module("balancer", ShareBalancer(num_classes=3))
    assert balanced_step(_learner(_net(), loss, compiled=False), _batch()) > 0


def test_a_second_loss_on_views_reaches_the_compiled_network(traced: list[int]) -> None:
    found = []
    for compiled in (True, False):
        loss = nn.CrossEntropyLoss()
        loss.add_module("auxiliary", Auxiliary(NTXentLoss(), 0.5))
        learner = _learner(_net(), loss, compiled=compiled)
        learner.objective, learner.views = (
            joint_objective,
            lambda images: torch.stack([images, images.flip(-1)]),
        )
        supervised_step(learner, _batch())
        found.append(_state(learner.network))
    assert set(traced) == {SIZE}  # views are another size
    _assert_equal(*found)


def test_several_experts_compile(traced: list[int]) -> None:
    found = []
    for compiled in (True, False):
        torch.manual_seed(0)
        net = MultiExpert(_Backbone, lambda b: nn.Linear(b.pooled, 3), experts=2, share_until="body.0")
        learner = _learner(net, compiled=compiled)
        supervised_step(learner, _batch())
        found.append(_state(net))
    assert traced
    _assert_equal(*found)


def test_a_monitor_hears_every_class_where_it_is_due(traced: list[int]) -> None:
    records = []
    for compiled in (True, False):
        learner = _learner(_net(), compiled=compiled)
        monitor = Monitor(learner.network, ["a", "b", "c"], every=2)
        step = MonitoredStep(supervised_step, monitor, [])
        for seed in range(4):
            step(learner, _batch(seed=seed))
        assert monitor.skipped == 0
        records.append(monitor.records)
    assert [r["step"] for r in records[0]] == [r["step"] for r in records[1]] == [1, 3]
    assert len(traced) == 4  # backbone and head, at the two steps that were not due
    for one, other in zip(*records, strict=True):
        assert one["count"] == other["count"]
        assert one["notes"] == other["notes"]


def test_a_checkpoint_goes_on_with_and_without(traced: list[int], tmp_path: Path) -> None:
    first = _learner(_net())
    supervised_step(first, _batch())
    path = save_last(tmp_path / "last.safetensors", first, {})
    ends = []
    for compiled in (True, False):
        torch.manual_seed(5)
        other = _learner(_net(), compiled=compiled)
        load_last(path, other)
        supervised_step(other, _batch(seed=2))
        ends.append(_state(other.network))
    supervised_step(first, _batch(seed=2))
    assert all(torch.equal(value, ends[0][name]) for name, value in _state(first.network).items())
    _assert_equal(*ends)


def test_a_replaced_head_runs_as_written(traced: list[int]) -> None:
    learner = _learner(_net())
    supervised_step(learner, _batch())
    before = len(traced)
    network: Any = learner.network
    network.head = nn.Linear(4, 3)
    supervised_step(learner, _batch())
    assert len(traced) == before + 1  # the backbone


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.compile must be a known name"):
        Compiled([nn.Linear(1, 1)], "fastest", 3)


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("no C++ compiler\nlong story")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(
        InputError, match="needs a compiler that works, got RuntimeError: no C.. compiler; set"
    ):
        check_compiler(torch.device("cpu"))


@pytest.mark.slow
def test_the_real_compiler_gives_the_same_steps() -> None:
    check_compiler(torch.device("cpu"))
    one, other = _learner(_net()), _learner(_net(), compiled=False)
    for learner in (one, other):
        for step in map(partial(_batch, SIZE), range(3)):
            supervised_step(learner, step)
    _assert_equal(_state(one.network), _state(other.network))
