"""Lightning: one callback watches training, writes to the loggers and measures the validation data."""

import argparse
import tempfile

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from digits import digits
from tailgrad.integrations import LightningCallback


class Classifier(LightningModule):
    """A module like any other; nothing in it knows of tailgrad."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(128, classes),
        )

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, target = batch
        return nn.functional.cross_entropy(self.model(images), target)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, target = batch
        self.log("val_accuracy", (self.model(images).argmax(1) == target).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def main(epochs: int, every: int) -> None:
    torch.manual_seed(0)
    train, test = digits("train"), digits("test")
    callback = LightningCallback(every=every, measure_on="val")
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=epochs,
            callbacks=[callback],
            logger=CSVLogger(folder),
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            log_every_n_steps=5,
        )
        trainer.fit(
            Classifier(len(train.classes)),
            DataLoader(train, batch_size=64, shuffle=True),
            DataLoader(test, batch_size=256),
        )
    accuracy = trainer.callback_metrics["val_accuracy"]
    print(f"{len(callback.records)} measurements; validation accuracy {accuracy:.3f}")
    if callback.result is not None:
        print("On the validation data, after training:")
        print(callback.result.summary())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--every", type=int, default=20, help="steps between two measurements")
    main(**vars(parser.parse_args()))
