"""Memory of training and diagnosing a generated set of many images and classes, decoded while training.

    python benchmarks/streaming.py FOLDER [--images 20000,200000] [--classes 8142] [--steps 100]
                                   [--kind webdataset|parquet] [--workers 0] [--out streaming-cpu]

For each number of images a long-tailed set of small JPEGs is written into FOLDER (train, val and test shards;
what is there already is used again). A process of its own then opens and splits it, trains a tiny network for
some steps, measures interference between all classes (sketched), and tells the most memory it held up to each
point. Counts that are done are not run again unless FOLDER is emptied. Memory must not grow with the images
but for what an index costs: the bytes an image between the smallest and the largest count are in the result.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from record import provenance, save
from tailgrad.data import save_split
from tailgrad.engine import Learner, supervised_step
from tailgrad.files import write_json, write_with
from tailgrad.interference import measure
from tailgrad.losses import CrossEntropyLoss
from tailgrad.models import Classifier
from tailgrad.recipes.compose import compose
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.prepared import Prepared

SIDE = 32
PER_SHARD = 5000
PARTS = {"train": 0.9, "val": 0.05, "test": 0.05}
SETTINGS = {
    "train": {"device": "cpu"},
    "data": {"size": SIDE, "near_duplicates": False, "resident": "stream"},
}


def long_tailed(images: int, classes: int) -> NDArray[np.int64]:
    """Class of each image in a random order: one of every class, the rest by an exponential profile."""
    share = 100.0 ** (-np.arange(classes) / max(1, classes - 1))
    ends = np.rint(np.cumsum(share) / share.sum() * (images - classes)).astype(np.int64)
    counts = 1 + np.diff(ends, prepend=0)
    labels = np.repeat(np.arange(classes), counts)
    return np.random.default_rng(0).permutation(labels)


def jpeg(label: int, number: int) -> bytes:
    """A blurred random picture, tinted by its class."""
    random = np.random.default_rng(number)
    small = random.integers(0, 160, (5, 5, 3), dtype=np.uint8)
    small += np.array([label * 37 % 96, label * 11 % 96, label * 5 % 96], np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


def generate(folder: Path, images: int, classes: int, kind: str) -> float:
    """Write the shards that are missing; the seconds it took."""
    begin, number = time.perf_counter(), 0
    write = {"webdataset": (_write_tar, "tar"), "parquet": (_write_parquet, "parquet")}[kind]
    for part, share in PARTS.items():
        count = round(images * share)
        labels = long_tailed(max(count, classes), classes) if part == "train" else _drawn(count, classes)
        for shard, start in enumerate(range(0, len(labels), PER_SHARD)):
            several = labels[start : start + PER_SHARD].tolist()
            path = folder / f"{part}-{shard:06d}.{write[1]}"
            if not path.exists():
                write_with(path, lambda to, few=several, first=number: write[0](to, few, first))
            number += len(several)
    return time.perf_counter() - begin


def _drawn(count: int, classes: int) -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, classes, count)


def _write_tar(path: Path, labels: list[int], first: int) -> None:
    with tarfile.open(path, "w") as tar:
        for number, label in enumerate(labels, start=first):
            for ending, data in (("jpg", jpeg(label, number)), ("cls", str(label).encode())):
                info = tarfile.TarInfo(f"{number:08d}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def _write_parquet(path: Path, labels: list[int], first: int) -> None:
    images = [jpeg(label, number) for number, label in enumerate(labels, start=first)]
    pq.write_table(pa.table({"image": images, "label": labels}), path, row_group_size=100)


class Tiny(nn.Module):
    """Two strided convolutions: the data are the matter here, not the network."""

    channels, grid, input_size, stages = 32, True, None, ("convolutions",)

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=4, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1)
        )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.convolutions(images)
        return features

    def pool(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


def peak() -> int:
    """The most memory this process has held since it began, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def run(folder: Path, steps: int, workers: int) -> dict[str, Any]:
    """Open, train and diagnose a set; memory and seconds up to the end of each."""
    torch.manual_seed(0)
    found: dict[str, Any] = {"peak_bytes": {"start": peak()}, "seconds": {}}

    def phase(name: str, call: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        result = call()
        found["seconds"][name] = round(time.perf_counter() - begin, 2)
        found["peak_bytes"][name] = peak()
        print(f"  {name}: {found['seconds'][name]} s, {peak() / 2**20:.0f} MiB", flush=True)
        return result

    above = {**SETTINGS, "data": {**SETTINGS["data"], "workers": workers}}
    config = compose(str(folder), "quick", "ce", above)
    ready = phase("prepare", lambda: prepare(config, None, lambda text: print(f"  {text}")))
    phase("split written", lambda: save_split(ready.split, ready.source, folder / "split.json"))
    normalize = phase("normalise", ready.normalize)
    model = Classifier(Tiny(), nn.Linear(Tiny.channels, ready.classes.num_classes))
    learner = Learner.plain(model, CrossEntropyLoss(), lr=0.05)
    learner.prepare = normalize
    found["loss"] = phase("train", lambda: _train(learner, ready, steps))
    measured = phase("measure", lambda: _measured(learner, ready))
    found["classes_measured"] = len(measured.class_names)
    found["images"] = len(ready.source.items)
    return found


def _train(learner: Learner, ready: Prepared, steps: int) -> list[float]:
    """Steps over as many epochs as they take; mean loss of the first and the last tenth."""
    losses: list[float] = []
    loader, epoch = ready.loader("train", 128, seed=0), 0
    while len(losses) < steps:
        loader.set_epoch(epoch)
        epoch += 1
        for _, batch in zip(range(steps - len(losses)), loader, strict=False):
            losses.append(float(supervised_step(learner, batch)))
    few = max(1, steps // 10)
    return [round(float(np.mean(part)), 4) for part in (losses[:few], losses[-few:])]


def _measured(learner: Learner, ready: Prepared) -> Any:
    return measure(
        learner.network,
        _pairs(learner, ready),
        max_per_class=4,
        folds=2,
        sketch=512,
        class_names=ready.classes.names,
    )


def _pairs(learner: Learner, ready: Prepared) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in ready.mixed(("train",), 256):
        yield learner.images(batch.inputs), batch.target


def one(folder: Path, images: int, options: argparse.Namespace) -> dict[str, Any]:
    """The result for one number of images: that of before, or a new one from a process of its own."""
    folder = folder / f"{options.kind}-{images}-{options.classes}"
    kept = folder.with_name(f"{folder.name}-{options.steps}-{options.workers}.json")
    if not kept.exists():
        print(f"{images} images, {options.classes} classes, {options.kind}", flush=True)
        written = generate(folder, images, options.classes, options.kind)
        asked = [str(folder), "--steps", str(options.steps), "--workers", str(options.workers), "--child"]
        subprocess.run([sys.executable, __file__, *asked, str(kept)], check=True)
        found = json.loads(kept.read_text()) | {"seconds_generating": round(written, 1)}
        write_json(kept, found)
    result: dict[str, Any] = json.loads(kept.read_text())
    return result


def growth(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Bytes of memory that one more image costs, by the end of each phase."""
    few, many = (found[key] for key in (min(found, key=int), max(found, key=int)))
    more = many["images"] - few["images"]
    return {
        phase: round((many["peak_bytes"][phase] - few["peak_bytes"][phase]) / more, 1)
        for phase in few["peak_bytes"]
        if more
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", default="20000,200000")
    parser.add_argument("--classes", type=int, default=8142)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--kind", choices=("webdataset", "parquet"), default="webdataset")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", default="streaming-cpu")
    parser.add_argument("--child", type=Path)
    options = parser.parse_args()
    if options.child:
        write_json(options.child, run(options.folder, options.steps, options.workers))
        return
    found = {str(n): one(options.folder, n, options) for n in map(int, options.images.split(","))}
    content = {
        "what": "most memory held while a generated set is opened, trained on and diagnosed; images stream",
        "kind": options.kind,
        "classes": options.classes,
        "steps": options.steps,
        "workers": options.workers,
        "by_images": found,
        "bytes_an_image": growth(found),
        "decoded_bytes_an_image": 3 * SIDE * SIDE,
        **provenance([0]),
    }
    content["command"] = content["command"].replace(str(options.folder), "FOLDER")
    print(f"bytes an image: {content['bytes_an_image']}")
    save(f"bench-{options.out}", content)


if __name__ == "__main__":
    main()
