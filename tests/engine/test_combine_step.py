"""The step of optimisers that combine class gradients, inside the training loop."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import Diverged, Fitted, Learner, LossWatch, Plan, Schedule, fit, supervised_step
from tailgrad.engine.combine_step import combined_step
from tailgrad.optim import MGDA, ClassGradientOptimizer, Combiner, PCGrad, UPGrad
from tailgrad.types import Batch, Output


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(16, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.outputs(images).logits

    def outputs(self, images: Tensor) -> Output:
        features = self.backbone(images)
        return Output(self.head(features), features)


class _Mean(Combiner):
    def weights(self, gram: Any) -> Any:
        return gram[0] * 0 + 1 / len(gram)


def _learner(combiner: Combiner | None, *, mixed: bool = False, prior: str = "uniform") -> Learner:
    net = _Net()
    optimizer: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    if combiner is not None:
        optimizer = ClassGradientOptimizer(net.backbone, optimizer, combiner, prior=prior)
    plugins: Any = [MixedPrecision("bf16-mixed", "cpu")] if mixed else None
    fabric = Fabric(accelerator="cpu", devices=1, plugins=plugins)
    module, stepper = fabric.setup(net, optimizer)
    module.mark_forward_method("outputs")
    loss = nn.CrossEntropyLoss(reduction="mean" if combiner is None else "none")
    return Learner(
        fabric, module, loss, stepper, Schedule("cosine", epochs=4), lambda x: x.float(), lambda x: x
    )


def _batch() -> Batch:
    torch.manual_seed(1)
    return Batch(torch.randn(8, 3, 4, 4), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]), torch.arange(8))


def _flat(learner: Learner) -> Tensor:
    return torch.cat([p.detach().flatten() for p in learner.model.parameters()])


def test_the_plain_mean_is_the_supervised_step() -> None:
    combined, plain = _learner(_Mean(), prior="batch"), _learner(None)
    for _ in range(3):
        losses = combined_step(combined, _batch()), supervised_step(plain, _batch())
        torch.testing.assert_close(*losses)
    torch.testing.assert_close(_flat(combined), _flat(plain), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mixed", [False, True])
def test_it_learns_in_both_precisions(mixed: bool) -> None:
    learner = _learner(UPGrad(), mixed=mixed)
    losses = [float(combined_step(learner, _batch())) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_loss_on_features_reads_them() -> None:
    class OnFeatures(nn.Module):
        takes = "features"

        def forward(self, features: Tensor, target: Tensor) -> Tensor:
            return features.square().mean(1) + 0 * target

    learner = _learner(MGDA())
    learner.loss = OnFeatures()
    before = _flat(learner)
    assert float(combined_step(learner, _batch())) > 0
    assert not torch.equal(_flat(learner), before)


def test_a_reduced_loss_is_refused() -> None:
    learner = _learner(MGDA())
    learner.loss = nn.CrossEntropyLoss()
    with pytest.raises(InputError, match=r'losses must be one number an example.*reduction="none"'):
        combined_step(learner, _batch())


def test_a_batch_with_nan_changes_nothing() -> None:
    learner = _learner(MGDA())
    before = _flat(learner)
    batch = _batch()
    batch.inputs[3] = float("nan")
    assert combined_step(learner, batch).isnan()
    assert torch.equal(_flat(learner), before)


def _fit(learner: Learner, folder: Path, epochs: int) -> Fitted:
    torch.manual_seed(2)
    images = torch.randint(256, (22, 3, 4, 4), dtype=torch.uint8)
    loader = ResidentLoader(images, torch.arange(22) % 2, torch.arange(22), batch_size=8, seed=5)
    learner.prepare = lambda x: x.float() / 255
    plan = Plan(epochs=epochs, keep=folder, monitor="score")
    return fit(learner, loader, lambda: {"score": 0.5}, plan, step=combined_step, watch=LossWatch(str))


def test_the_loop_resumes_to_the_same_weights(tmp_path: Path) -> None:
    unbroken = _learner(PCGrad())
    _fit(unbroken, tmp_path / "a", 4)
    _fit(_learner(PCGrad()), tmp_path / "b", 2)
    resumed = _learner(PCGrad())
    assert _fit(resumed, tmp_path / "b", 4).epoch == 4
    assert torch.equal(_flat(resumed), _flat(unbroken))


def test_the_loop_names_the_batch_that_diverged(tmp_path: Path) -> None:
    learner = _learner(MGDA())
    learner.augment = lambda x: x * float("nan")
    with pytest.raises(Diverged, match="loss is nan at step 1"):
        _fit(learner, tmp_path, 1)
