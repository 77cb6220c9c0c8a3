"""Numbers that are not finite: training stops, says where, and never keeps them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from torch import Tensor, nn

from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import (
    Diverged,
    Learner,
    LossWatch,
    MetricsLog,
    Plan,
    Schedule,
    fit,
    load_weights,
    supervised_step,
)
from tailgrad.engine.watch import WeightWatch

pytestmark = pytest.mark.long


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 3))


def data() -> ResidentLoader:
    images = torch.randint(256, (24, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return ResidentLoader(images, torch.arange(24) % 3, torch.arange(24), batch_size=8, seed=5)


class Strikes(torch.autograd.Function):
    """The identity; its gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[0] * ctx.factor, None


class StrikingLoss(nn.Module):
    """Cross-entropy, whose value or gradient breaks at one step."""

    def __init__(self, at: int, *, value: float = 1.0, gradient: float = 1.0) -> None:
        super().__init__()
        self.at, self.value, self.gradient, self.calls = at, value, gradient, 0

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        self.calls += self.training
        strikes = self.training and self.calls == self.at
        seen = Strikes.apply(logits, self.gradient if strikes else 1.0)
        return nn.functional.cross_entropy(seen, target) * (self.value if strikes else 1.0)


def train(folder: Path, loss: nn.Module, **options: Any) -> None:
    learner = Learner.plain(net(), loss, lr=0.1)
    learner.prepare = lambda x: x.float() / 255
    fit(
        learner,
        data(),
        lambda: {"val_macro_f1": 0.5, "val_loss": 1.0},
        Plan(epochs=4, keep=folder, seed=3, **options),
        step=supervised_step,
        watch=LossWatch(lambda i: f"{i}.png"),
        observers=[MetricsLog(folder / "metrics.jsonl")],
    )


def finite(path: Path) -> bool:
    return all(bool(v.isfinite().all()) for v in load_weights(path)[0].values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_stops_at_its_step(tmp_path: Path, value: float) -> None:
    said = {"nan": "nan", "inf": "inf", "-inf": "-inf"}[str(value)]
    with pytest.raises(Diverged, match=rf"loss is {said} at step 5 \(epoch 2\) on the batch of \d+.png, "):
        train(tmp_path, StrikingLoss(5, value=value), save_minutes=0.0)
    assert load_weights(tmp_path / "last.safetensors")[1]["progress"]["step"] == 4
    assert finite(tmp_path / "last.safetensors")


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
@pytest.mark.parametrize(("save_minutes", "kept"), [(0.0, 4), (None, 3)])
def test_a_gradient_that_is_not_finite_under_a_finite_loss_reaches_no_checkpoint(
    tmp_path: Path, factor: float, save_minutes: float | None, kept: int
) -> None:
    with pytest.raises(
        Diverged, match=r"is not finite after step 5 \(epoch 2\) though|loss is nan at step 6"
    ):
        train(tmp_path, StrikingLoss(5, gradient=factor), save_minutes=save_minutes)
    state, meta = load_weights(tmp_path / "last.safetensors")
    assert meta["progress"]["step"] == kept
    assert finite(tmp_path / "last.safetensors")
    assert finite(tmp_path / "weights.safetensors")
    assert {"model.2.weight", "model.1.running_var"} <= state.keys()


def test_the_last_step_of_an_epoch_is_looked_at_before_validation_chooses_it(tmp_path: Path) -> None:
    with pytest.raises(
        Diverged, match=r"model\.\S+ and \d+ more is not finite after step 3 \(epoch 1\) though"
    ):
        train(tmp_path, StrikingLoss(3, gradient=float("nan")), save_minutes=None)
    assert not list(tmp_path.glob("*.safetensors"))
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_exploding_gradients_stop_before_they_are_kept(tmp_path: Path) -> None:
    with pytest.raises(Diverged):
        train(tmp_path, StrikingLoss(4, gradient=1e38), save_minutes=0.0)
    assert finite(tmp_path / "last.safetensors")
    assert load_weights(tmp_path / "last.safetensors")[1]["progress"]["step"] in (3, 4, 5)


def test_statistics_of_a_norm_that_overflow_are_noticed() -> None:
    learner = Learner.plain(net(), nn.CrossEntropyLoss(), lr=0.1)
    watch = WeightWatch(learner)
    watch.check(step=1, epoch=1)
    learner.model.state_dict()["1.running_var"].fill_(float("inf"))
    with pytest.raises(Diverged, match=r"model.1.running_var is not finite after step 1 \(epoch 1\)"):
        watch.check(step=1, epoch=1)


def test_moments_of_an_optimiser_that_overflow_are_noticed() -> None:
    learner = Learner.plain(net(), nn.CrossEntropyLoss(), lr=0.1)
    learner.optimizer = learner.fabric.setup_optimizers(torch.optim.Adam(learner.model.parameters()))
    watch = WeightWatch(learner)
    for parameter in learner.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e25)  # its square is beyond float32
    learner.optimizer.step()
    assert all(bool(p.isfinite().all()) for p in learner.model.parameters())
    with pytest.raises(Diverged, match="optimizer.0.exp_avg_sq and 3 more is not finite"):
        watch.check(step=1, epoch=1)


def test_what_was_infinite_before_training_is_left_alone() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))

    learner = Learner.plain(net(), nn.CrossEntropyLoss(), lr=0.1)
    learner.loss = Masked()
    watch = WeightWatch(learner)
    watch.check(step=1, epoch=1)
    learner.model.state_dict()["2.bias"][0] = float("nan")
    with pytest.raises(Diverged, match="model.2.bias is not finite"):
        watch.check(step=1, epoch=1)


def test_overflow_under_bfloat16_stops_too(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with torch.no_grad():
        model[1].weight.fill_(3e38)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("bf16-mixed", "cpu")])
    module, stepper = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
    learner = Learner(
        fabric, module, nn.CrossEntropyLoss(), stepper, Schedule(), lambda x: x.float(), lambda x: x
    )
    with pytest.raises(Diverged, match="loss is (nan|inf) at step 1 "):
        fit(
            learner,
            data(),
            lambda: {"val_macro_f1": 0.5},
            Plan(epochs=1, keep=tmp_path),
            step=supervised_step,
            watch=LossWatch(str),
        )
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_diverged_run_says_so_and_can_be_looked_at(
    attempt: Any, training: list[str], tmp_path: Path
) -> None:
    wild = ["--set", "optim.name=sgd", "--set", "optim.lr=1e20"]
    ended = attempt(tmp_path, *training, *wild)
    assert (ended.status, ended.out) == (1, "")
    assert "Traceback" not in ended.err
    assert "(what was saved before is kept)" in ended.err.splitlines()[-1]
    for path in (tmp_path / "made").rglob("*.safetensors"):
        assert finite(path)
    rows = (tmp_path / "made" / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(row)["train_loss"] is not None for row in rows if "kind" not in json.loads(row))
