"""Measure any PyTorch classifier: a plain one and a timm one, with results saved and read back."""

import argparse
from pathlib import Path

import timm
import torch
from torch import nn
from torch.utils.data import DataLoader

import tailgrad
from digits import Digits, digits
from tailgrad.interference import Interference


def train(model: nn.Module, data: Digits, epochs: int) -> nn.Module:
    """Any training will do; tailgrad has no part in it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for images, target in DataLoader(data, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), target).backward()
            optimizer.step()
    return model


def plain(classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, classes),
    )


def main(name: str, epochs: int, out: Path) -> None:
    torch.manual_seed(0)
    data, held_out = digits("train"), digits("test")
    classes = len(data.classes)
    models = {
        "plain": plain(classes),
        name: timm.create_model(name, num_classes=classes),
    }
    for what, model in models.items():
        train(model, data, epochs)
        found = tailgrad.measure(model, held_out)  # the classes' names come from held_out.classes
        print(f"{what}: {found}")
        print(found.summary())
        for pair in found.worst_pairs(3):
            print(f"  {pair.first} against {pair.second}: {pair.excess:+.2f} beyond the null")
        found.save(out / what)
        print(f"saved {out / what}.npz and .json; read back: {Interference.load(out / what)}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="resnet10t", help="any image classifier of timm")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("measured"))
    main(**vars(parser.parse_args()))
