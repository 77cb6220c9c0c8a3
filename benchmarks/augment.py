"""Batch transforms against torchvision's, image by image, and what data cost in a training step.

    python benchmarks/augment.py [--rounds 9] [--step-rounds 5]

Both change the same bytes: tailgrad a batch [128, 3, 32, 32] or [32, 3, 224, 224] at once; torchvision its
images one after another, as PIL images (what a data loader's worker does) and as tensors. The pipelines go
from stored bytes to a normalised batch. One thread each; a worker process would add its own costs.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric import Fabric
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from record import paired_ratio, provenance, save
from tailgrad import augment
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import Learner, Schedule, supervised_step
from tailgrad.losses import CrossEntropyLoss
from tailgrad.models import create_model

MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
SHAPES = {"32": (128, 3, 32, 32), "224": (32, 3, 224, 224)}
CLOCK = time.process_time
"""Processor time: other work on the machine would lengthen the longer of two calls more than the shorter."""

Transform = Callable[[Any], Any]
NUMBERS = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
NORMAL = v2.Compose([NUMBERS, v2.Normalize(MEAN, STD)])


def _pairs(side: int) -> dict[str, tuple[Transform, Transform]]:
    """Ours for a batch of bytes, torchvision's for an image of bytes."""
    return {
        "crop": (augment.Crop(), v2.RandomCrop(side, padding=side // 8)),
        "flip": (augment.Flip(), v2.RandomHorizontalFlip()),
        "resized_crop": (augment.ResizedCrop(0.5), v2.RandomResizedCrop(side, scale=(0.5, 1))),
        "auto_augment": (augment.AutoAugment(), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)),
        "rand_augment": (augment.RandAugment(), v2.RandAugment()),
        "trivial_augment": (augment.TrivialAugment(), v2.TrivialAugmentWide()),
        "cutout": (augment.Cutout(), v2.Compose([v2.ToImage(), v2.RandomErasing(1.0, (0.25, 0.25), (1, 1))])),
        "normalize": (augment.Normalize(MEAN, STD), NORMAL),
        "crop + flip + normalize": (
            _chain(augment.Crop(), augment.Flip(), augment.Normalize(MEAN, STD)),
            v2.Compose([v2.RandomCrop(side, padding=side // 8), v2.RandomHorizontalFlip(), NORMAL]),
        ),
        "crop + flip + auto_augment + normalize": (
            _chain(augment.Crop(), augment.Flip(), augment.AutoAugment(), augment.Normalize(MEAN, STD)),
            v2.Compose(
                [
                    v2.RandomCrop(side, padding=side // 8),
                    v2.RandomHorizontalFlip(),
                    v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
                    NORMAL,
                ]
            ),
        ),
    }


def _chain(*transforms: Transform) -> Transform:
    def run(images: Tensor) -> Tensor:
        for transform in transforms:
            images = transform(images)
        return images

    return run


def _each(transform: Transform, images: list[Any]) -> Callable[[], object]:
    """One image after another, as tensors in one batch at the end."""
    return lambda: torch.stack([vision.to_image(transform(image)) for image in images])


def _ratios(shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    batch = torch.randint(256, shape, dtype=torch.uint8)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in batch]
    found: dict[str, Any] = {}
    for name, (ours, theirs) in _pairs(shape[-1]).items():
        for kind, images in (("pil", pictures), ("tensor", list(batch))):
            times = paired_ratio(_each(theirs, images), lambda ours=ours: ours(batch), rounds, clock=CLOCK)
            found.setdefault(name, {})[kind] = times
            print(f"{shape[-1]:4d} {name:40s} {kind:7s} {times['ratio_median']:8.1f}")
    return found


def _step(rounds: int) -> dict[str, float]:
    """Seconds to cut and draw a batch of ResNet-32's, and of the whole step, in turn."""
    fabric = Fabric(accelerator="cpu", devices=1)
    model = create_model("resnet32", num_classes=10).to(memory_format=torch.channels_last)
    module, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    after = _chain(augment.Crop(), augment.Flip())
    normal = augment.Normalize(MEAN, STD)
    learner = Learner(fabric, module, CrossEntropyLoss(), optimizer, Schedule(), normal, after, True)
    images = torch.randint(256, (12_800, 3, 32, 32), dtype=torch.uint8)
    target = torch.randint(10, (len(images),))
    loader = iter(ResidentLoader(images, target, torch.arange(len(target)), batch_size=128, seed=0))
    seconds: dict[str, list[float]] = {"data": [], "step": []}
    for _ in range(rounds + 1):
        begin = CLOCK()
        batch = next(loader)
        learner.examples(batch)
        between = CLOCK()
        supervised_step(learner, batch)  # draws once more
        seconds["data"].append(between - begin)
        seconds["step"].append(CLOCK() - between)
    data, step = (statistics.median(values[1:]) for values in seconds.values())
    print(f"data and augmentation take {data / step:.2%} of a ResNet-32 step of 128 images")
    return {"share": round(data / step, 5), "seconds_data": round(data, 5), "seconds_step": round(step, 5)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--step-rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    content = {
        "what": "processor seconds of torchvision, image by image, over those of tailgrad, the whole batch",
        "batches": SHAPES,
        "ratios": {name: _ratios(shape, options.rounds) for name, shape in SHAPES.items()},
        "resnet32_step": _step(options.step_rounds),
        **provenance([0]),
    }
    save("bench-augment-cpu", content)


if __name__ == "__main__":
    main()
