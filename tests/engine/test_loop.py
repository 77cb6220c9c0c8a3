import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tailgrad.checks import InputError
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import (
    Diverged,
    Fitted,
    Interrupted,
    Learner,
    LossWatch,
    MetricsLog,
    Plan,
    Schedule,
    fit,
    infer,
    load_weights,
    supervised_step,
)
from tailgrad.types import StepRecord


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(16, 2)
    )


def _data() -> ResidentLoader:
    torch.manual_seed(1)
    images = torch.randint(256, (22, 3, 4, 4), dtype=torch.uint8)
    return ResidentLoader(images, torch.arange(22) % 2, torch.arange(22), batch_size=8, seed=5)


def _learner(kind: str = "adam") -> Learner:
    learner = Learner.plain(_net(), nn.CrossEntropyLoss(), lr=0.05)
    makers: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    }
    learner.optimizer = learner.fabric.setup_optimizers(makers[kind](learner.model.parameters()))
    learner.prepare = lambda x: x.float() / 255
    learner.augment = lambda x: x + 0.1 * torch.randn_like(x)
    learner.schedule = Schedule("cosine", epochs=6, warmup=1)
    return learner


class _Validate:
    """Scores and losses from a script, or the training loss and its negative."""

    def __init__(
        self, learner: Learner, scores: list[float] | None = None, losses: list[float] | None = None
    ) -> None:
        self.learner, self.scores, self.losses, self.calls = learner, scores, losses, 0

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        logits, target, _ = infer(self.learner, ResidentLoader(*_tensors(), batch_size=8))
        loss = float(nn.functional.cross_entropy(logits, target))
        score = -loss if self.scores is None else self.scores[self.calls - 1]
        return {"val_macro_f1": score, "val_loss": self.losses[self.calls - 1] if self.losses else loss}


def _tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    data = _data()
    return data.images, data.target, data.index


def _run(folder: Path, learner: Learner, epochs: int = 6, **options: Any) -> Fitted:
    observers = options.pop("observers", [MetricsLog(folder / "metrics.jsonl")])
    validate = options.pop("validate", None) or _Validate(learner)
    plan = Plan(epochs=epochs, keep=folder, seed=3, **options)
    watch = LossWatch(lambda i: f"{i}.png", every=2)
    return fit(learner, _data(), validate, plan, step=supervised_step, watch=watch, observers=observers)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_a_resumed_run_is_bit_identical(tmp_path: Path, kind: str) -> None:
    whole, first, second = _learner(kind), _learner(kind), _learner(kind)
    _run(tmp_path / "whole", whole)
    _run(tmp_path / "cut", first, epochs=2)
    torch.manual_seed(99)  # a new process has another random state
    fitted = _run(tmp_path / "cut", second, observers=[MetricsLog(tmp_path / "cut" / "metrics.jsonl", 2)])
    for a, b in zip(whole.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert fitted.epoch == 6
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "cut")
    ]
    for row in rows[0] + rows[1]:
        del row["seconds"]
    assert rows[0] == rows[1]
    kept = [load_weights(tmp_path / name / "weights.safetensors")[0] for name in ("whole", "cut")]
    assert all(torch.equal(kept[0][k], kept[1][k]) for k in kept[0])


def test_killed_in_an_epoch_resumes_to_the_same_result(tmp_path: Path) -> None:
    class Kill:
        def on_step(self, record: StepRecord) -> None:
            if record.step == 8:
                raise KeyboardInterrupt

        def on_epoch(self, row: dict[str, Any]) -> None: ...

    whole, first, second = _learner(), _learner(), _learner()
    _run(tmp_path / "whole", whole)
    with pytest.raises(Interrupted, match="finished epochs kept: 2"):
        _run(tmp_path / "cut", first, observers=[Kill()])
    _run(tmp_path / "cut", second)
    for a, b in zip(whole.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("stop_at", [2, 7, 8, 9, 11, 17])
def test_killed_within_an_epoch_goes_on_at_the_same_batch(tmp_path: Path, stop_at: int) -> None:
    class Kill:
        def on_step(self, record: StepRecord) -> None:
            if record.step == stop_at:
                raise KeyboardInterrupt

        def on_epoch(self, row: dict[str, Any]) -> None: ...

    class Count(Kill):
        steps = 0

        def on_step(self, _record: StepRecord) -> None:
            Count.steps += 1

    def log(epoch: int = 0) -> MetricsLog:
        return MetricsLog(tmp_path / "cut" / "metrics.jsonl", epoch)

    whole, first, second = _learner(), _learner(), _learner()
    _run(tmp_path / "whole", whole)
    with pytest.raises(Interrupted):
        _run(tmp_path / "cut", first, observers=[log(), Kill()], save_minutes=0.0)
    torch.manual_seed(99)
    last = tmp_path / "cut" / "last.safetensors"
    done = load_weights(last)[1]["progress"] if last.exists() else {"epoch": 0, "step": 0}
    _run(tmp_path / "cut", second, observers=[log(done["epoch"]), Count()], save_minutes=0.0)
    assert Count.steps == 18 - done["step"] <= 18 - stop_at + 2  # the watch looks at every second step
    for a, b in zip(whole.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "cut")
    ]
    assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]


@pytest.mark.parametrize("again", [0.9, 0.2])
def test_killed_between_the_two_files_of_an_epoch_keeps_weights_and_figures_together(
    tmp_path: Path, again: float
) -> None:
    """Epoch 3 is run again after its weights were kept; on a GPU it may come to something else."""

    class Kill:
        def on_step(self, record: StepRecord) -> None: ...

        def on_epoch(self, row: dict[str, Any]) -> None:
            if row["epoch"] == 3:
                raise KeyboardInterrupt

    first, second = _learner(), _learner()
    with pytest.raises(Interrupted):
        _run(tmp_path, first, validate=_Validate(first, [0.1, 0.5, 0.9]), observers=[Kill()])
    assert load_weights(tmp_path / "weights.safetensors")[1]["epoch"] == 3
    fitted = _run(tmp_path, second, validate=_Validate(second, [again, 0.1]), epochs=4)
    assert load_weights(tmp_path / "weights.safetensors")[1]["epoch"] == fitted.best_epoch == 3
    assert fitted.best == again


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path) -> None:
    learner = _learner()
    losses = [1.0, 0.8, 0.7, 0.8, 0.6, 0.5]
    validate = _Validate(learner, [0.1, 0.5, 0.4, 0.5, 0.3, 0.9], losses)
    fitted = _run(tmp_path, learner, validate=validate, patience=3)
    assert (fitted.epoch, fitted.best_epoch, fitted.best, fitted.stopped) == (5, 2, 0.5, "patience")
    assert load_weights(tmp_path / "weights.safetensors")[1]["epoch"] == 2


@pytest.mark.parametrize("sittings", [(6,), (3, 6)])
def test_of_equal_epochs_the_one_with_the_lower_loss_is_kept_and_patience_counts_from_it(
    tmp_path: Path, sittings: tuple[int, ...]
) -> None:
    """A rare class that is not recognised yet leaves the figure where it is while the network learns."""
    scores, losses = [0.5] * 6, [1.0, 0.9, 0.8, 0.85, 0.8, 0.9]
    for begin, epochs in zip((0, *sittings), sittings, strict=False):
        learner = _learner()
        validate = _Validate(learner, scores[begin:], losses[begin:])
        fitted = _run(tmp_path, learner, validate=validate, epochs=epochs, patience=3)
    assert (fitted.epoch, fitted.best_epoch, fitted.best_loss) == (6, 3, 0.8)
    assert fitted.stopped in ("patience", "epochs")
    assert load_weights(tmp_path / "weights.safetensors")[1]["epoch"] == 3


@pytest.mark.parametrize("losses", [[float("nan")] * 3, [float("inf"), float("nan"), 0.1]])
def test_without_a_finite_loss_the_first_of_equal_epochs_stays(tmp_path: Path, losses: list[float]) -> None:
    learner = _learner()
    fitted = _run(tmp_path, learner, validate=_Validate(learner, [0.5] * 3, losses), epochs=3)
    assert (fitted.best_epoch, fitted.best_loss) == (1, None)
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["epoch"] == 3


def test_a_loss_is_monitored_downwards(tmp_path: Path) -> None:
    plan = Plan(epochs=1, keep=tmp_path, monitor="val_loss")
    assert plan.better(0.1, 0.2)
    assert not plan.better(0.2, 0.2)


def test_time_limit_stops_after_a_whole_epoch_and_goes_on_later(tmp_path: Path) -> None:
    fitted = _run(tmp_path, _learner(), minutes=0.0)
    assert (fitted.epoch, fitted.stopped) == (1, "minutes")
    assert _run(tmp_path, _learner()).epoch == 6


def test_nan_names_step_and_files_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    learner = _learner()
    plain_loss = learner.loss

    class Breaks(nn.Module):
        calls = 0

        def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            Breaks.calls += 1
            return plain_loss(logits, target) * (float("nan") if Breaks.calls == 5 else 1.0)

    learner.loss = Breaks()
    with pytest.raises(Diverged, match=r"loss is nan at step 5 \(epoch 2\) on the batch of \d+.png, "):
        _run(tmp_path, learner)
    state, _ = load_weights(tmp_path / "last.safetensors")
    assert all(torch.isfinite(v).all() for v in state.values())
    assert load_weights(tmp_path / "weights.safetensors")[1]["epoch"] == 1


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    _run(tmp_path, _learner(), epochs=1)
    other = Learner.plain(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), nn.CrossEntropyLoss(), lr=0.1)
    with pytest.raises(InputError, match="checkpoint must fit the network"):
        _run(tmp_path, other)


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "last.safetensors").write_bytes(b"\x00\x01broken")
    with pytest.raises(InputError, match="readable safetensors file"):
        _run(tmp_path, _learner())


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(), {0: 1, 9.5: 1}),
        (Schedule("step", every=23, gamma=0.1), {0: 1, 22.9: 1, 23: 0.1, 46: 0.01}),
        (
            Schedule("multistep", milestones=(160, 180), gamma=0.01, warmup=5),
            {2.5: 0.5, 5: 1, 160: 1e-2, 180: 1e-4},
        ),
        (Schedule("cosine", epochs=10), {0: 1, 5: 0.5, 10: 0, 12: 0}),
    ],
)
def test_schedules_in_closed_form(schedule: Schedule, expected: dict[float, float]) -> None:
    for t, factor in expected.items():
        assert schedule.factor(t) == pytest.approx(factor, abs=1e-12)


def test_schedule_agrees_with_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    for epoch in range(10):
        assert Schedule("step", every=3, gamma=0.5).factor(epoch) == pytest.approx(
            optimizer.param_groups[0]["lr"]
        )
        optimizer.step()
        reference.step()


def test_first_step_of_warm_up_moves(tmp_path: Path) -> None:
    learner = _learner("sgd")
    before = [p.detach().clone() for p in learner.model.parameters()]
    _run(tmp_path, learner, epochs=1)
    rates = [g["lr"] for g in learner.optimizer.param_groups]
    assert rates == [pytest.approx(0.05, rel=0.07)]
    assert any(not torch.equal(a, b) for a, b in zip(before, learner.model.parameters(), strict=True))


def test_losses_that_read_features_get_them() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(48, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.line(x.flatten(1))

        def outputs(self, x: torch.Tensor) -> Any:
            from tailgrad.types import Output

            return Output(self.line(x.flatten(1)), x.flatten(1))

    class Norm(nn.Module):
        takes = "features"

        def forward(self, features: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            assert features.shape[1] == 48
            return features.square().mean()

    learner = Learner.plain(Net(), Norm(), lr=0.1)
    learner.model.mark_forward_method("outputs")  # type: ignore[operator]
    assert learner.loss_of(torch.ones(2, 3, 4, 4), torch.zeros(2).long()) == 1.0
