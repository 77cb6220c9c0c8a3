"""Hugging Face Trainer with one knob more: class_imbalance="auto", a loss and a sampler by name, or None."""

import argparse
import json
import tempfile
from typing import Any

import numpy as np
import torch
from transformers import ResNetConfig, ResNetForImageClassification, TrainingArguments

from digits import AsMappings, digits
from tailgrad.integrations import ImbalanceTrainer


def recalls(predicted: Any) -> dict[str, float]:
    """Of every class, and what the rarest come to."""
    guess, target = predicted.predictions.argmax(1), predicted.label_ids
    found = [float((guess[target == k] == k).mean()) for k in range(target.max() + 1)]
    return {"balanced_accuracy": float(np.mean(found)), "rare_recall": float(np.mean(found[-3:]))}


def main(epochs: int, knob: str) -> None:
    torch.manual_seed(0)
    train, test = digits("train"), digits("test")
    config = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[32, 64],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(train.classes)),
        label2id={name: k for k, name in enumerate(train.classes)},
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=32,
            learning_rate=3e-3,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = ImbalanceTrainer(
            model=ResNetForImageClassification(config),
            args=arguments,
            train_dataset=AsMappings(train),
            eval_dataset=AsMappings(test),
            compute_metrics=recalls,
            class_imbalance=knob if knob == "auto" else json.loads(knob),
        )
        trainer.train()
        found = trainer.evaluate()
    names = ("rare_recall", "balanced_accuracy")
    print("; ".join(f"{name} {found[f'eval_{name}']:.3f}" for name in names))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--knob", default="auto", help='auto, null, or JSON such as {"sampler": "over"}')
    main(**vars(parser.parse_args()))
