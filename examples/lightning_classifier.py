"""Lightning: any network in a module with one knob, and the recall of every class in the log."""

import argparse
import json

import timm
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from digits import digits
from tailgrad.integrations import LightningClassifier


def main(epochs: int, knob: str) -> None:
    torch.manual_seed(0)
    train, test = digits("train"), digits("test")
    module = LightningClassifier(
        timm.create_model("test_resnet", num_classes=len(train.classes)),
        train.labels,
        class_imbalance=knob if knob == "auto" else json.loads(knob),
        class_names=train.classes,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=2e-3),
        epochs=epochs,
    )
    shuffle = module.sampler is None  # one of the two: a sampler that was chosen, or the usual shuffle
    trainer = Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        check_val_every_n_epoch=epochs,
    )
    trainer.fit(
        module,
        DataLoader(train, batch_size=64, shuffle=shuffle, sampler=module.sampler),
        DataLoader(test, batch_size=250),
    )
    found = trainer.callback_metrics
    by_class = " ".join(f"{found[f'val_recall/{name}']:.2f}" for name in train.classes)
    print(f"recall by class {by_class}; balanced_accuracy {found['val_balanced_accuracy']:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--knob", default="auto", help='auto, null, or JSON such as {"sampler": "over"}')
    main(**vars(parser.parse_args()))
