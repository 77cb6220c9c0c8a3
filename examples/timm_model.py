"""Any timm model in two lines: the model by its name, the loss from the class counts."""

import argparse

import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import tailgrad
from digits import Digits, digits
from tailgrad.losses import BalancedSoftmaxLoss


def train(model: nn.Module, criterion: nn.Module, data: Digits, epochs: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for images, target in DataLoader(data, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            criterion(model(images), target).backward()
            optimizer.step()


def recall(model: nn.Module, data: Digits) -> Tensor:
    """Of each class [K]."""
    model.eval()
    with torch.no_grad():
        correct = model(data.images).argmax(1) == data.labels
    return torch.stack([correct[data.labels == k].float().mean() for k in range(len(data.classes))])


def main(name: str, epochs: int) -> None:
    data, held_out = digits("train"), digits("test")
    counts = torch.bincount(data.labels).tolist()

    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10)  # 1: a model of timm's own
    criterion = BalancedSoftmaxLoss(counts)  # 2

    torch.manual_seed(0)
    ours = tailgrad.create_model(
        f"timm/{name}", 10
    )  # 1: or through tailgrad, which knows its stages and heads
    theirs = timm.create_model(name, num_classes=10)
    for what, one, loss in (
        ("plain cross-entropy", theirs, nn.CrossEntropyLoss()),
        ("timm.create_model, balanced softmax", model, criterion),
        ("tailgrad.create_model, balanced softmax", ours, criterion),
    ):
        torch.manual_seed(1)
        train(one, loss, data, epochs)
        found = recall(one, held_out)
        print(f"{what}: recall of the three rarest {found[-3:].mean():.3f}, of all {found.mean():.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="test_resnet", help="any image classifier of timm")
    parser.add_argument("--epochs", type=int, default=10)
    main(**vars(parser.parse_args()))
