"""The training loop with a monitor: the same weights, and records in metrics.jsonl and for loggers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import Learner, LiveLog, LossWatch, MetricsLog, Plan, Schedule, fit, supervised_step
from tailgrad.engine.checkpoint import load_weights
from tailgrad.engine.combine_step import combined_step
from tailgrad.engine.monitoring import MonitoredStep
from tailgrad.engine.observers import Observer
from tailgrad.interference.monitor import Monitor
from tailgrad.optim import ClassGradientOptimizer, PCGrad
from tailgrad.types import Batch, Output

NAMES = ["cat", "dog"]


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3)
        )
        self.head = nn.Linear(16, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.outputs(images).logits

    def outputs(self, images: Tensor) -> Output:
        features = self.backbone(images)
        return Output(self.head(features), features)


class _FeatureLoss(nn.Module):
    takes = "features"

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        return (features[:, :2].softmax(1)[:, 0] - target).square().mean()


def _learner(loss: nn.Module | None = None, *, combined: bool = False) -> Learner:
    net = _Net()
    optimizer: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    if combined:
        optimizer = ClassGradientOptimizer(net.backbone, optimizer, PCGrad())
    fabric = Fabric(accelerator="cpu", devices=1)
    module, stepper = fabric.setup(net, optimizer)
    module.mark_forward_method("outputs")
    loss = loss or nn.CrossEntropyLoss(reduction="none" if combined else "mean")
    return Learner(fabric, module, loss, stepper, Schedule(), lambda x: x.float() / 255, lambda x: x)


class Kept:
    """Stands where TensorBoard would: keeps the names that were logged under each step."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, set[str]]] = []

    def begin(self, settings: Mapping[str, Any]) -> None: ...

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self.logged.append((step, set(figures)))

    def show(self, name: str, pixels: Any, step: int) -> None: ...

    def save(self) -> None: ...

    def end(self, figures: Mapping[str, float]) -> None: ...


def _fit(learner: Learner, folder: Path, epochs: int, monitor: Monitor | None, more: list[Observer]) -> None:
    torch.manual_seed(2)
    images = torch.randint(256, (22, 3, 4, 4), dtype=torch.uint8)
    loader = ResidentLoader(images, torch.arange(22) % 2, torch.arange(22), batch_size=8, seed=5)
    plan = Plan(epochs=epochs, keep=folder / "checkpoint", monitor="score")
    last = plan.keep / "last.safetensors"
    done = load_weights(last)[1]["progress"]["epoch"] if last.exists() else 0
    observers: list[Observer] = [MetricsLog(folder / "metrics.jsonl", done), *more]
    step = supervised_step if monitor is None else MonitoredStep(supervised_step, monitor, observers)
    fit(learner, loader, lambda: {"score": 0.5}, plan, step=step, watch=LossWatch(str), observers=observers)


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_loop_trains_the_same_and_writes_records_before_their_epoch(tmp_path: Path) -> None:
    plain, watched = _learner(), _learner()
    _fit(plain, tmp_path / "plain", 3, None, [])
    monitor = Monitor(watched.network, NAMES, every=2)
    program = Kept()
    _fit(watched, tmp_path / "watched", 3, monitor, [LiveLog(program)])
    for a, b in zip(plain.model.state_dict().values(), watched.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    lines = _lines(tmp_path / "watched")
    assert [(line["epoch"], line.get("step")) for line in lines] == [
        (1, 1), (1, 3), (1, None), (2, 5), (2, None), (3, 7), (3, 9), (3, None)
    ]  # fmt: skip
    records = [line for line in lines if line.get("kind") == "interference"]
    assert [{k: v for k, v in r.items() if k != "epoch"} for r in records] == monitor.records
    epochs = [line["train_loss"] for line in lines if "kind" not in line]
    assert epochs == [line["train_loss"] for line in _lines(tmp_path / "plain")]
    assert [step for step, names in program.logged if "interference/norm/cat" in names] == [1, 3, 5, 7, 9]


def test_a_run_that_goes_on_writes_the_records_of_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole, first, second = _learner(), _learner(), _learner()
    _fit(whole, tmp_path / "whole", 2, Monitor(whole.network, NAMES, every=2), [])
    _fit(first, tmp_path / "cut", 1, Monitor(first.network, NAMES, every=2), [])
    monitor = Monitor(second.network, NAMES, every=2)
    _fit(second, tmp_path / "cut", 2, monitor, [])
    assert [line["step"] for line in _lines(tmp_path / "cut") if "kind" in line] == [1, 3, 5]
    kept = [{**line, "seconds": 0} for line in _lines(tmp_path / "whole")]
    assert [{**line, "seconds": 0} for line in _lines(tmp_path / "cut")] == kept
    assert monitor.steps == 6


def _batch() -> Batch:
    torch.manual_seed(1)
    return Batch(torch.randint(256, (8, 3, 4, 4)), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]), torch.arange(8))


def test_a_loss_on_features_is_heard_through_outputs() -> None:
    learner = _learner(_FeatureLoss())
    step = MonitoredStep(supervised_step, Monitor(learner.network, NAMES), [])
    step(learner, _batch())
    assert min(step.monitor.records[0]["norm"].values()) > 0


def test_a_step_of_many_backward_passes_is_measured_as_their_sum() -> None:
    learner = _learner(combined=True)
    step = MonitoredStep(combined_step, Monitor(learner.network, NAMES, every=1), [])
    for _ in range(2):
        step(learner, _batch())
    assert [record["step"] for record in step.monitor.records] == [1, 2]
    assert step.monitor.records[0]["unknown"] == []


def test_soft_labels_are_refused() -> None:
    learner = _learner()
    step = MonitoredStep(supervised_step, Monitor(learner.network, NAMES), [])
    batch = Batch(_batch().inputs, torch.full((8, 2), 0.5), torch.arange(8))
    with pytest.raises(InputError, match="target must be class indices .* switch mixing and soft labels off"):
        step(learner, batch)
