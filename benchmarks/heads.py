"""CSBA's training step and forward pass against the baseline head's, on tripath at 224 pixels.

    python benchmarks/heads.py [--batch 16] [--rounds 15] [--bfloat16]

Goal: at most 5 % more for the step and 3 % more for the forward pass on a CPU, 3 % and 2 % on a GPU (where
batches are 128 unless told, and ``--bfloat16`` is how a run would train: bfloat16 and channels last).
"""

import argparse
from collections.abc import Callable

import torch
from torch import nn

from record import paired_ratio, provenance, save
from tailgrad.losses import CrossEntropyLoss
from tailgrad.models import create_model

GOALS = {"cpu": {"step": 1.05, "forward": 1.03}, "cuda": {"step": 1.03, "forward": 1.02}}


def _step(model: nn.Module, images: torch.Tensor, target: torch.Tensor, half: bool) -> Callable[[], None]:
    loss, optimizer = CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-4)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            logits = model(images)
        loss(logits.float(), target).backward()
        optimizer.step()

    return step


def _forward(model: nn.Module, images: torch.Tensor, half: bool) -> Callable[[], None]:
    def forward() -> None:
        model.eval()
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            model(images)

    return forward


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=128 if device == "cuda" else 16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bfloat16", action="store_true", help="bfloat16 and channels last")
    options = parser.parse_args()
    torch.manual_seed(0)
    half, layout = options.bfloat16, torch.channels_last if options.bfloat16 else torch.contiguous_format
    images = torch.rand(options.batch, 3, 224, 224, device=device).contiguous(memory_format=layout)
    target = torch.arange(options.batch, device=device) % 6
    csba, base = (
        create_model("tripath", num_classes=6, head=head).to(device, memory_format=layout)
        for head in ("csba", "branch_sum")
    )
    steps = (_step(model, images, target, half) for model in (csba, base))
    passes = (_forward(model, images, half) for model in (csba, base))
    content = {
        "what": "tripath at 224 pixels, 6 classes: time with the csba head over time with branch_sum",
        "batch": options.batch,
        "precision": "bfloat16, channels last" if half else "float32, contiguous",
        "step": paired_ratio(*steps, options.rounds),
        "forward": paired_ratio(*passes, options.rounds),
        **provenance([0]),
    }
    for part, goal in GOALS[device].items():
        print(f"{part}: csba / branch_sum = {content[part]['ratio_median']} (goal {goal})")
    save(f"bench-heads-{device}", content)


if __name__ == "__main__":
    main()
