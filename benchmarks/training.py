"""Training throughput on tripath at 224 pixels: tailgrad's loop against plain PyTorch defaults.

    python benchmarks/training.py [--images 96] [--batch 16] [--rounds 5]

Both train the same network on the same JPEG files for one epoch: the plain loop in float32, contiguous,
with a DataLoader (two workers) and per-image torchvision transforms; tailgrad with images resident in memory
as uint8, transforms by the batch, and the precision and layout that its measured trial chooses. Decoding for
residence is done once a run and timed apart.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from record import paired_ratio, provenance, save
from tailgrad.augment import Flip, Normalize
from tailgrad.data import load_images, open_source
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import Learner, Schedule, choose_speed, supervised_step
from tailgrad.losses import CrossEntropyLoss
from tailgrad.models import create_model

SIDE = 224
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def _folder(root: Path, count: int) -> Path:
    random = np.random.default_rng(0)
    for i in range(count):
        path = root / f"class{i % 6}" / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC).save(path, quality=90)
    return root


def _plain(root: Path, batch: int) -> Callable[[], None]:
    torch.manual_seed(0)
    steps = [
        transforms.Resize((SIDE, SIDE)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    loader = DataLoader(
        datasets.ImageFolder(root, transforms.Compose(steps)), batch_size=batch, shuffle=True, num_workers=2
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = create_model("tripath", num_classes=6, head="branch_sum").to(device)
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=1e-4), torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        for images, target in loader:
            optimizer.zero_grad()
            loss(model(images.to(device)), target.to(device)).backward()
            optimizer.step()

    return epoch


def _ours(root: Path, batch: int) -> tuple[Callable[[], None], dict[str, object]]:
    torch.manual_seed(0)
    source = open_source(root)
    begin = time.perf_counter()
    images = load_images(source, range(len(source.labels)), (SIDE, SIDE))
    decoding = time.perf_counter() - begin
    model = create_model("tripath", num_classes=6, head="branch_sum")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    speed = choose_speed(model.to(device), torch.rand(batch, 3, SIDE, SIDE, device=device))
    plugins = [MixedPrecision("bf16-mixed", device)] if speed.precision == "bfloat16" else None
    fabric = Fabric(accelerator=device, devices=1, plugins=plugins)
    layout = torch.channels_last if speed.channels_last else torch.contiguous_format
    module, optimizer = fabric.setup(
        model.to(memory_format=layout), torch.optim.Adam(model.parameters(), lr=1e-4)
    )
    learner = Learner(
        fabric,
        module,
        CrossEntropyLoss(),
        optimizer,
        Schedule(),
        Normalize(MEAN, STD),
        Flip(),
        speed.channels_last,
    )
    target = torch.as_tensor(source.labels)
    loader = ResidentLoader(images, target, torch.arange(len(target)), batch_size=batch, seed=0)

    def epoch() -> None:
        for one in loader:
            supervised_step(learner, one)

    chosen = {
        "precision": speed.precision,
        "channels_last": speed.channels_last,
        "decode_seconds": round(decoding, 3),
    }
    return epoch, chosen


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = _folder(Path(folder), options.images)
        plain = _plain(root, options.batch)
        ours, chosen = _ours(root, options.batch)
        times = paired_ratio(plain, ours, options.rounds)
    content = {
        "what": "one epoch of tripath at 224 pixels: seconds of plain PyTorch defaults over tailgrad's",
        "images": options.images,
        "batch": options.batch,
        "chosen": chosen,
        "images_per_second": {
            "plain": round(options.images / times["seconds_a_median"], 2),
            "tailgrad": round(options.images / times["seconds_b_median"], 2),
        },
        **times,
        **provenance([0]),
    }
    print(f"tailgrad trains {times['ratio_median']} times as many images per second ({chosen})")
    save(f"bench-training-{'cuda' if torch.cuda.is_available() else 'cpu'}", content)


if __name__ == "__main__":
    main()
