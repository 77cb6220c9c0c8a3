"""Frameworks tell a sampler its epochs: nobody is warned, and every epoch draws anew."""

# ruff: noqa: ARG002 - the framework fixes the arguments of its hooks

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tailgrad.losses import CrossEntropyLoss
from tailgrad.samplers import ClassBalancedSampler

COUNTS = [15, 6, 3]


class Recorder(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(5, 3)
        self.criterion = CrossEntropyLoss(COUNTS, weights="inverse", defer=1)
        self.seen: list[list[float]] = []

    def on_train_epoch_start(self) -> None:
        self.criterion.set_epoch(self.current_epoch + 1)
        self.seen.append([])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen[-1] += batch[0][:, 0].tolist()
        return self.criterion(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
def test_lightning_tells_the_sampler_and_the_module_its_loss(data: Any) -> None:
    module = Recorder()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", max_epochs=3, enable_model_summary=False, **quiet)
    trainer.fit(module, DataLoader(data, batch_size=4, sampler=ClassBalancedSampler(data.tensors[1])))
    assert len({tuple(epoch) for epoch in module.seen}) == 3
    assert module.criterion.weighting.active


def test_the_hugging_face_trainer_tells_the_sampler(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    target = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    rows = [{"x": torch.tensor([float(i)]), "labels": label} for i, label in enumerate(target)]
    seen: list[float] = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 3)

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            seen.extend(x[:, 0].tolist())
            return {"loss": nn.functional.cross_entropy(self.layer(x / 24), labels)}

    class Balanced(transformers.Trainer):
        def _get_train_sampler(self, *_: Any) -> ClassBalancedSampler:
            return ClassBalancedSampler(target)

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=3, save_strategy="no", report_to="none", use_cpu=True,
        disable_tqdm=True, per_device_train_batch_size=4, dataloader_pin_memory=False,
    )  # fmt: skip
    Balanced(model=Net(), args=arguments, train_dataset=rows).train()
    epochs = [tuple(seen[start : start + 24]) for start in range(0, len(seen), 24)]
    assert len(epochs) == len(set(epochs)) == 3
