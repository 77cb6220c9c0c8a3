"""Epochs of training end to end: tailgrad against the PyTorch script that one would write.

    python benchmarks/training.py PART ... [--rounds 3] [--images 1.0] [--batch N] [--workers 2]
        [--compile auto] [--epochs 200] [--data SOURCE] [--peak-tflops 989]

Parts:

tripath-224       96 JPEG files at 224 pixels, 6 classes.
resnet32-trial    the long trial alone (``--tune-speed``): how fast each way to run a step is. It is kept in
                  the cache folder, where the next part finds it.
resnet32-epoch    ResNet-32 on CIFAR-10-LT (12,406 generated images, or those of ``--data``), epochs that are
                  warm; compilation and its break-even apart.
resnet32-run      a whole training of ``--epochs`` epochs, everything in it, against as many plain epochs.

The script is float32 and contiguous, with a DataLoader and per-image torchvision transforms on PIL images;
tailgrad is its own loop with images resident as uint8, transforms by the batch, and the precision, layout,
compilation and fused update that its trial chooses. Both train the same network with the same batches and
optimiser. Each part writes its own entry of results/bench-training-<device>.json, so that parts can be run
one by one, in any order, and again.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import datasets, transforms

from record import ROOT, paired_ratio, provenance, save
from tailgrad.augment import Normalize
from tailgrad.data import load_images, open_source
from tailgrad.data.profiles import Profile, longtail
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.engine import Learner, LossWatch, Plan, fit, supervised_step
from tailgrad.losses import CrossEntropyLoss
from tailgrad.models import Classifier
from tailgrad.recipes.assemble import assemble, make_model
from tailgrad.recipes.config import Config
from tailgrad.recipes.run_folder import with_settled
from tailgrad.recipes.speed import settle

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NAME = f"bench-training-{DEVICE}"
GOALS = (
    {"tripath-224": 2.0, "resnet32-epoch": 2.5}
    if DEVICE == "cpu"
    else {
        "tripath-224": 5.0,
        "resnet32-epoch": 15.0,
        "resnet32-run": 15.0,
    }
)
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
Options = argparse.Namespace
Found = dict[str, Any]


class Cifar(datasets.CIFAR10):
    """Torchvision's data set on images that are in memory already, as it holds them itself."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Any) -> None:
        self.data, self.targets = images, labels.tolist()
        self.transform, self.target_transform = transform, None


def cifar_lt(options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 32, 32, 3] of 10 classes, imbalance factor 100, and their labels."""
    random = np.random.default_rng(0)
    if options.data is None:
        labels = np.repeat(np.arange(10), 5000)
    else:
        source = open_source(options.data)
        labels = source.labels
    kept = longtail(labels, Profile("exponential", imb_factor=100), 0, None, 10)
    kept = np.sort(random.permutation(kept)[: round(options.images * len(kept))])
    if options.data is None:
        small = random.integers(0, 256, (len(kept), 8, 8, 3), dtype=np.uint8)
        noise = random.integers(0, 40, (len(kept), 32, 32, 3), dtype=np.uint8)
        return np.minimum(small.repeat(4, 1).repeat(4, 2), 215) + noise, labels[kept]
    return load_images(source, kept, (32, 32)).permute(0, 2, 3, 1).numpy(), labels[kept]


def folder_of(root: Path, count: int) -> Path:
    random = np.random.default_rng(0)
    for i in range(count):
        path = root / f"class{i % 6}" / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC).save(path, quality=90)
    return root


def plain(data: Dataset[Any], config: Config, classes: int, workers: int) -> Callable[[], None]:
    """An epoch of the script."""
    loader: Any = DataLoader(
        data, config.train.batch_size, shuffle=True, num_workers=workers, pin_memory=DEVICE == "cuda"
    )
    model, loss = make_model(config, classes).to(DEVICE), nn.CrossEntropyLoss()
    optimizer: torch.optim.Optimizer
    if config.optim.name == "sgd":
        rate, decay = config.optim.lr, config.optim.weight_decay
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=config.optim.lr)

    def epoch() -> None:
        model.train()
        for images, target in loader:
            images, target = images.to(DEVICE, non_blocking=True), target.to(DEVICE, non_blocking=True)
            optimizer.zero_grad()
            loss(model(images), target).backward()
            optimizer.step()

    return epoch


class Ours:
    """Tailgrad's own loop; each call trains further epochs."""

    def __init__(
        self, images: Tensor, labels: np.ndarray, config: Config, learner: Learner, keep: Path
    ) -> None:
        target = torch.as_tensor(labels)
        self.loader = ResidentLoader(
            images.to(DEVICE), target, torch.arange(len(target)), batch_size=config.train.batch_size, seed=0
        )
        self.learner, self.keep, self.done = learner, keep, 0

    def train(self, epochs: int = 1) -> None:
        self.done += epochs
        plan = Plan(epochs=self.done, keep=self.keep, monitor="score", save_minutes=10)
        watch = LossWatch(str, every=1 if DEVICE == "cpu" else 20)
        fit(self.learner, self.loader, lambda: {"score": 0.0}, plan, step=supervised_step, watch=watch)


def settled(
    config: Config, classes: int, size: tuple[int, int], images: int, said: list[str]
) -> tuple[Config, Classifier, float]:
    model = make_model(config, classes)
    begin = time.perf_counter()
    speed = settle(config, model, size, images, said.append)
    return with_settled(config, speed.keys), model, time.perf_counter() - begin


def flops(config: Config, classes: int, side: int) -> float:
    """Floating point operations of one image, forward and backward."""
    model = make_model(config, classes)
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(2, 3, side, side)).sum().backward()
    return counter.get_total_flops() / 2


def versus(
    config: Config,
    data: Dataset[Any],
    images: Tensor,
    labels: np.ndarray,
    options: Options,
) -> Found:
    """Warm epochs of both in turn, the first epoch of each apart."""
    classes, side = int(labels.max()) + 1, images.shape[-1]
    said: list[str] = []
    config, model, trial = settled(config, classes, (side, side), len(labels), said)
    counts = np.bincount(labels).tolist()
    learner = assemble(config, model, CrossEntropyLoss(), Normalize(MEAN, STD), counts)
    script = plain(data, config, classes, options.workers)
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(images, labels, config, learner, Path(folder))
        begin = time.perf_counter()
        ours.train()
        first = time.perf_counter() - begin
        script()
        times = paired_ratio(script, ours.train, options.rounds, warm_up=False)
    work, rate = flops(config, classes, side), len(labels) / times["seconds_b_median"]
    found = {
        "what": "seconds of an epoch of the plain PyTorch script over tailgrad's",
        "images": len(labels),
        "batch": config.train.batch_size,
        "workers": options.workers,
        "chosen": {key: getattr(config.train, key) for key in KEYS},
        "trial": "\n".join(said).splitlines(),
        "trial_seconds": round(trial, 2),
        "first_epoch_seconds": round(first, 2),
        "images_per_second": {
            "plain": round(len(labels) / times["seconds_a_median"], 2),
            "tailgrad": round(rate, 2),
        },
        "gflop_per_image": round(work / 1e9, 3),
        "tflops": round(rate * work / 1e12, 3),
        **times,
    }
    if options.peak_tflops:
        found["share_of_peak"] = round(rate * work / 1e12 / options.peak_tflops, 4)
    gain = times["seconds_a_median"] - times["seconds_b_median"]
    start = trial + max(0.0, first - times["seconds_b_median"])
    found["epochs_to_break_even"] = round(start / gain, 1) if gain > 0 else None
    return found


KEYS = ("precision", "channels_last", "compile", "fused", "threads")


def of_tripath(options: Options) -> Found:
    config = Config(
        source="generated",
        optim={"name": "adam", "lr": 1e-4},
        train={"batch_size": options.batch or 16, "augment": ["flip"], "epochs": 30} | _tuned(options),
    )
    steps = [
        transforms.Resize((224, 224)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = folder_of(Path(folder), round(96 * options.images))
        source = open_source(root)
        begin = time.perf_counter()
        images = load_images(source, range(len(source.labels)), (224, 224))
        decoding = time.perf_counter() - begin
        data = datasets.ImageFolder(root, transforms.Compose(steps))
        return versus(config, data, images, source.labels, options) | {"decode_seconds": round(decoding, 3)}


def resnet32(options: Options) -> Config:
    """CIFAR's regime of the long-tailed literature."""
    return Config(
        source="generated",
        model={"name": "resnet32"},
        optim={"name": "sgd", "lr": 0.1, "weight_decay": 2e-4},
        train={"batch_size": options.batch or 128, "augment": ["crop", "flip"], "epochs": options.epochs}
        | _tuned(options),
    )


def _tuned(options: Options) -> dict[str, Any]:
    return {"compile": options.compile, "fused": "auto"}


def _cifar(options: Options) -> tuple[Dataset[Any], Tensor, np.ndarray]:
    images, labels = cifar_lt(options)
    steps = [
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    data = Cifar(images, labels, transforms.Compose(steps))
    return data, torch.as_tensor(images).permute(0, 3, 1, 2).contiguous(), labels


def of_resnet32_trial(options: Options) -> Found:
    said: list[str] = []
    config, _, seconds = settled(resnet32(options), 10, (32, 32), 12_406, said)
    print("\n".join(said))
    lines = "\n".join(said).splitlines()
    return {
        "trial": lines,
        "trial_seconds": round(seconds, 2),
        "chosen": {k: getattr(config.train, k) for k in KEYS},
    }


def of_resnet32_epoch(options: Options) -> Found:
    return versus(resnet32(options), *_cifar(options), options)


def of_resnet32_run(options: Options) -> Found:
    """Ours from the first line to the last epoch; the script by the median of some of its epochs."""
    data, images, labels = _cifar(options)
    config = resnet32(options)
    script = plain(data, config, 10, options.workers)
    script()
    seconds = []
    for _ in range(options.rounds):
        begin = time.perf_counter()
        script()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    theirs = sorted(seconds)[len(seconds) // 2] * options.epochs
    begin = time.perf_counter()
    config, model, trial = settled(config, 10, (32, 32), len(labels), [])
    learner = assemble(config, model, CrossEntropyLoss(), Normalize(MEAN, STD), np.bincount(labels).tolist())
    with tempfile.TemporaryDirectory() as folder:
        Ours(images, labels, config, learner, Path(folder)).train(options.epochs)
    ours = time.perf_counter() - begin
    return {
        "what": f"{options.epochs} epochs: plain script (median epoch times their number) over tailgrad",
        "images": len(labels),
        "workers": options.workers,
        "chosen": {key: getattr(config.train, key) for key in KEYS},
        "trial_seconds": round(trial, 2),
        "seconds": {"plain": round(theirs, 1), "tailgrad": round(ours, 1)},
        "ratio_median": round(theirs / ours, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = {
        "tripath-224": of_tripath,
        "resnet32-trial": of_resnet32_trial,
        "resnet32-epoch": of_resnet32_epoch,
        "resnet32-run": of_resnet32_run,
    }
    parser.add_argument("parts", nargs="+", choices=parts)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=float, default=1.0, help="share of the images, to try it out")
    parser.add_argument("--batch", type=int, default=0, help="default 16 for tripath, 128 for resnet32")
    parser.add_argument("--workers", type=int, default=2, help="of the plain script's DataLoader")
    parser.add_argument("--compile", default="auto", choices=["auto", "off", "default", "reduce-overhead"])
    parser.add_argument("--epochs", type=int, default=200, help="length of the run that a choice is for")
    parser.add_argument("--data", help="a source of 32 x 32 images in 10 classes in place of generated ones")
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="of the device, to state the share of")
    options = parser.parse_args()
    for part in options.parts:
        torch.manual_seed(0)
        path = ROOT / "results" / f"{NAME}.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        kept = {name: entry for name, entry in before.items() if name in parts}
        found = parts[part](options) | provenance([0])
        if "ratio_median" in found:
            print(f"{part}: tailgrad is {found['ratio_median']} times as fast (goal {GOALS.get(part, '-')})")
        print(part, found["chosen"])
        save(NAME, kept | {part: found})


if __name__ == "__main__":
    main()
