"""A loop of one's own: three lines watch which classes interfere while it trains."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader

from digits import digits
from tailgrad.interference import Monitor


def main(epochs: int, every: int) -> None:
    torch.manual_seed(0)
    train, test = digits("train"), digits("test")
    loader = DataLoader(train, batch_size=64, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, len(train.classes)),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    monitor = Monitor(model, train.classes, every=every)  # 1
    for _ in range(epochs):
        for images, target in loader:
            with monitor.watch(target):  # 2
                loss = criterion(model(images), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    print(monitor.summary())  # 3

    model.eval()
    with torch.no_grad():
        correct = model(test.images).argmax(1) == test.labels
    by_class = [f"{correct[test.labels == k].float().mean():.2f}" for k in range(len(test.classes))]
    print(f"Test accuracy {correct.float().mean():.3f}; by class {' '.join(by_class)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--every", type=int, default=20, help="steps between two measurements")
    main(**vars(parser.parse_args()))
