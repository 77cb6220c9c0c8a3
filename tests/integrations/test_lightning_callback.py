"""The monitor inside Lightning's trainer."""

# ruff: noqa: ARG002 - the framework fixes the arguments of its hooks

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tailgrad.checks import InputError
from tailgrad.integrations import LightningCallback
from tailgrad.interference import measure
from tailgrad.optim import AsymmetricSAM, ClassGradientOptimizer, PCGrad

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*"),
]


class Module(LightningModule):
    """BatchNorm and dropout, so that an extra forward pass or random number would show."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def fit(
    module: LightningModule, data: Any, callback: LightningCallback | None = None, **options: Any
) -> Trainer:
    chosen: dict[str, Any] = {"max_epochs": 1, "logger": False, **options}
    validation = chosen.pop("validation", None)
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[callback] if callback else [],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        **chosen,
    )
    torch.manual_seed(1)
    trainer.fit(module, DataLoader(data, batch_size=4, shuffle=True), validation)
    return trainer


# What the monitor is told


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_every_batch_and_every_step_are_told(spy: Any, data: Any, accumulate: int) -> None:
    fit(Module(), data, LightningCallback(), accumulate_grad_batches=accumulate)
    groups = [accumulate] * (6 // accumulate) + ([6 % accumulate] if 6 % accumulate else [])
    expected = [call for n in groups for call in (*(["begin", "backward"] * n), "step")]
    assert spy.latest.calls == expected
    assert sorted(torch.cat(spy.latest.targets).tolist()) == data.tensors[1].tolist()


def test_the_update_has_been_applied_when_a_step_is_told(spy: Any, data: Any) -> None:
    module = Module()
    fit(module, data, LightningCallback(), max_steps=2)
    first, last = spy.latest.weights
    assert not torch.equal(first, last)
    assert torch.equal(last, torch.cat([p.detach().flatten() for p in module.parameters()]))


def test_the_arguments_reach_the_monitor(spy: Any, data: Any) -> None:
    module = Module()
    callback = LightningCallback(7, seconds=2.5, parameters="all", class_names=3, model=lambda m: m.model[4])
    fit(module, data, callback)
    monitor = spy.latest
    assert (monitor.every, monitor.seconds, monitor.parameters, monitor.classes) == (7, 2.5, "all", 3)
    assert monitor.model is module.model[4]


def test_the_module_itself_where_it_has_no_model(spy: Any, data: Any) -> None:
    class Bare(Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = self.model
            del self.model

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)

    module = Bare()
    fit(module, data, LightningCallback(), max_steps=1)
    assert spy.latest.model is module
    assert spy.latest.classes == ["ape", "bee", "cat"]


@pytest.mark.filterwarnings("ignore:.*training_step. returned .None.")
def test_a_skipped_batch_takes_no_part(spy: Any, data: Any) -> None:
    class Skips(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    fit(Skips(), data, LightningCallback(), limit_train_batches=3)
    heard = ["begin", "backward", "step"]
    assert spy.latest.calls == [*heard, "begin", "cancel", "step", *heard]


def test_only_the_first_pass_of_a_closure_that_runs_twice_is_heard(spy: Any, data: Any) -> None:
    class Twice(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            closure()
            return super().step(closure)

    class Module2(Module):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return Twice(self.parameters(), lr=0.1)

    fit(Module2(), data, LightningCallback(), max_steps=2)
    assert spy.latest.calls == ["begin", "backward", "step"] * 2


def test_manual_optimisation(spy: Any, data: Any) -> None:
    class Manual(Module):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    fit(Manual(), data, LightningCallback(), limit_train_batches=2)
    assert spy.latest.calls == ["begin", "backward", "step"] * 2


class Sharp(Module):
    """Steps by a closure of losses and target, which automatic optimisation does not give."""

    def __init__(self, kind: str = "sam", manual: bool = True) -> None:
        super().__init__()
        self.kind, self.automatic_optimization = kind, not manual

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        if self.automatic_optimization:
            return super().training_step(batch, batch_idx)
        cross_entropy = nn.functional.cross_entropy
        self.optimizers().step(lambda: (cross_entropy(self(batch[0]), batch[1], reduction="none"), batch[1]))
        return None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        base = torch.optim.SGD(self.parameters(), lr=0.1)
        if self.kind == "sam":
            return AsymmetricSAM(self.model, base, [15, 6, 3])
        return ClassGradientOptimizer(self.model, base, PCGrad())


@pytest.mark.parametrize("kind", ["sam", "classes"])
def test_optimisers_with_a_closure_of_their_own_work_by_hand_and_are_watched(data: Any, kind: str) -> None:
    plain, watched = Sharp(kind), Sharp(kind)
    fit(plain, data, max_epochs=2)
    callback = LightningCallback(every=3, parameters="all")
    fit(watched, data, callback, max_epochs=2)
    assert [record["step"] for record in callback.records] == [1, 4, 7, 10]
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    with pytest.raises(InputError, match="closure must return .* Lightning, with automatic_optimization = F"):
        fit(Sharp(kind, manual=False), data)


def test_labels_from_a_batch_of_any_form(spy: Any, data: Any) -> None:
    class Reads(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step((batch["x"], batch["y"]), batch_idx)

    rows = [{"x": x, "y": y} for x, y in data]
    callback = LightningCallback(class_names=3, target=lambda batch: batch["y"])
    fit(Reads(), rows, callback)
    assert sorted(torch.cat(spy.latest.targets).tolist()) == data.tensors[1].tolist()


def test_the_gradient_scaler_reaches_the_monitor(spy: Any, data: Any) -> None:
    precision = MixedPrecision("16-mixed", "cpu")
    fit(Module(), data, LightningCallback(), plugins=[precision], max_steps=1)
    assert precision.scaler is not None
    assert spy.latest.scaler is precision.scaler
    fit(Module(), data, LightningCallback(), max_steps=1)
    assert spy.latest.scaler is None


def test_an_interrupted_run_leaves_nothing_behind(spy: Any, data: Any) -> None:
    class Breaks(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        fit(Breaks(), data, LightningCallback())
    assert spy.latest.calls == ["begin", "cancel"]


# What comes of it


def test_numbers_go_to_the_loggers_at_their_step(spy: Any, data: Any, tmp_path: Path) -> None:
    callback = LightningCallback()
    fit(Module(), data, callback, logger=CSVLogger(tmp_path, version=""), log_every_n_steps=1000)
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["interference/steps"]) for row in rows] == [
        (str(n), str(float(n))) for n in range(1, 7)
    ]
    assert {row["interference/norm/a"] for row in rows} == {"0.5"}
    assert len(callback.records) == 6


def test_the_summary_is_printed_at_the_end(spy: Any, data: Any, capsys: pytest.CaptureFixture[str]) -> None:
    callback = LightningCallback()
    assert callback.summary() == "Training has not started."
    fit(Module(), data, callback)
    assert capsys.readouterr().out.splitlines()[-1] == callback.summary() == "6 records"


def test_a_second_fit_starts_afresh(spy: Any, data: Any) -> None:
    callback = LightningCallback()
    fit(Module(), data, callback)
    first = callback.monitor
    fit(Module(), data, callback, max_steps=1)
    assert callback.monitor is not first
    assert len(callback.records) == 1


def test_the_result_on_the_validation_data_is_that_of_measure(spy: Any, data: Any) -> None:
    module, callback = Module(), LightningCallback(measure_on="val")
    validation = DataLoader(data, batch_size=7)
    fit(module, data, callback, validation=validation)
    wanted = measure(module.model, validation, class_names=data.classes)
    assert callback.result is not None
    assert callback.result.class_names == data.classes
    np.testing.assert_array_equal(callback.result.conflict, wanted.conflict)
    np.testing.assert_array_equal(callback.result.counts, [15, 6, 3])


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_weights_are_bit_identical_with_and_without_it(data: Any, accumulate: int, precision: Any) -> None:
    plain, watched = Module(), Module()
    options: dict[str, Any] = {
        "max_epochs": 2,
        "accumulate_grad_batches": accumulate,
        "gradient_clip_val": 0.5,
        "precision": precision,
    }
    options["validation"] = DataLoader(data, batch_size=8)  # reading it draws a random number
    fit(plain, data, **options)
    callback = LightningCallback(every=2, measure_on="val")
    fit(watched, data, callback, **options)
    assert callback.records
    assert all(record["batches"] == accumulate for record in callback.records)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    assert callback.summary()


# Refusals


def test_what_cannot_be_measured_is_said_before_training(data: Any) -> None:
    with pytest.raises(InputError, match="measure_on must be a known name, got 'validation'"):
        LightningCallback(measure_on="validation")
    with pytest.raises(InputError, match="measure_on='val' needs validation data"):
        fit(Module(), data, LightningCallback(measure_on="val"))
    with pytest.raises(InputError, match="class_names must be given where the training data have no"):
        fit(Module(), list(data), LightningCallback())


def test_labels_that_are_not_found_are_said_at_the_first_batch(data: Any) -> None:
    rows = [{"x": x, "y": y} for x, y in data]
    with pytest.raises(InputError, match="got a mapping with x, y; say where"):
        fit(Module(), rows, LightningCallback(class_names=3))


def test_sharded_parameters_are_refused() -> None:
    class FSDPStrategy: ...

    trainer: Any = SimpleNamespace(strategy=FSDPStrategy())
    with pytest.raises(InputError, match="whole parameters on every device, got FSDPStrategy; use 'ddp'"):
        LightningCallback(class_names=3).on_train_start(trainer, Module())
