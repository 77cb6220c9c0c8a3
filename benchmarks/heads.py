"""CSBA's training step and forward pass against the baseline head's, on tripath at 224 pixels.

    python benchmarks/heads.py [--batch 16] [--rounds 15]

Goal: at most 5 % more for the step and 3 % more for the forward pass.
"""

import argparse
from collections.abc import Callable

import torch
from torch import nn

from record import paired_ratio, provenance, save
from tailgrad.losses import CrossEntropyLoss
from tailgrad.models import create_model


def _step(model: nn.Module, images: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
    loss, optimizer = CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-4)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model(images), target).backward()
        optimizer.step()

    return step


def _forward(model: nn.Module, images: torch.Tensor) -> Callable[[], None]:
    def forward() -> None:
        model.eval()
        with torch.no_grad():
            model(images)

    return forward


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.rand(options.batch, 3, 224, 224, device=device)
    target = torch.arange(options.batch, device=device) % 6
    csba, base = (create_model("tripath", num_classes=6, head=h).to(device) for h in ("csba", "branch_sum"))
    content = {
        "what": "tripath at 224 pixels, 6 classes: time with the csba head over time with branch_sum",
        "batch": options.batch,
        "step": paired_ratio(_step(csba, images, target), _step(base, images, target), options.rounds),
        "forward": paired_ratio(_forward(csba, images), _forward(base, images), options.rounds),
        **provenance([0]),
    }
    for part, goal in {"step": 1.05, "forward": 1.03}.items():
        print(f"{part}: csba / branch_sum = {content[part]['ratio_median']} (goal {goal})")
    save(f"bench-heads-{device}", content)


if __name__ == "__main__":
    main()
