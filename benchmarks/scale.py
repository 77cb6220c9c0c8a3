"""How cost grows with classes K, items N and branches B, in one process and on one core.

    python benchmarks/scale.py PART ... [--rounds 3]

Parts: losses and heads (K = 10 to 10,000), measure, evaluation (K and N), data (N = 10,000 to 1,000,000
generated items: profiles, splits, samplers), duplicates (near-duplicate search), branches (CSBA with 1 to
32), forward (evaluation of 25,000 images in 8,142 classes over one forward pass of them), plots
(docs/images). Each writes its own entry into results/bench-scale-cpu.json, so that parts can be run one by
one and again. Times are processor seconds of this process, which other programs lengthen less than time on
the clock; an exponent is the slope of log(time) over log(size) between the two largest sizes, where fixed
costs count least.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from growth_plot import growth_plot
from methods import fitting, long_tailed, made, passed
from record import ROOT, provenance
from tailgrad.data import Profile, Source, longtail, make_split
from tailgrad.data.perceptual_hash import close_pairs
from tailgrad.evaluate import evaluate
from tailgrad.files import write_json
from tailgrad.interference import measure
from tailgrad.losses import CrossEntropyLoss
from tailgrad.models import create_model
from tailgrad.recipes.components import components
from tailgrad.types import ClassInfo

CLASSES = (10, 100, 1000, 10_000)
ITEMS = (10_000, 100_000, 1_000_000)
BRANCHES = (1, 2, 4, 8, 16, 32)
SPECIES, TESTED = 8142, 25_000
SHORTEST = 0.02  # seconds of processor time that one timing lasts at least
Call = Callable[[], object]


def seconds(call: Call, rounds: int) -> float:
    """Processor seconds of one call: the least of several timings."""
    call()
    repeats, best = 1, math.inf
    for _ in range(rounds):
        while True:
            begin = time.process_time()
            for _ in range(repeats):
                call()
            spent = time.process_time() - begin
            if spent >= SHORTEST:
                break
            repeats *= 4
        best = min(best, spent / repeats)
    return best


def grown(make: Callable[[int], Call], sizes: Iterable[int], rounds: int) -> dict[str, Any]:
    """Seconds at each size, and the exponent between the two largest."""
    sizes = list(sizes)
    times = [seconds(make(size), rounds) for size in sizes]
    exponent = math.log(times[-1] / times[-2]) / math.log(sizes[-1] / sizes[-2])
    return {
        "sizes": sizes,
        "seconds": [float(f"{t:.3g}") for t in times],
        "exponent": round(exponent, 2),
    }


def losses(rounds: int) -> dict[str, Any]:
    """Forward and backward of every loss on 128 rows."""

    def call(name: str, item: Any, k: int) -> Call:
        torch.manual_seed(0)
        labels = torch.randint(k, (128,))
        target = nn.functional.one_hot(labels, k) if getattr(item, "multi_label", False) else labels
        return passed(made(item, k), fitting(name, item, k), target)

    known = components("losses").items()
    return {name: grown(partial(call, name, item), CLASSES, rounds) for name, item in known}


def heads(rounds: int) -> dict[str, Any]:
    """Forward and backward of every head on a map of 64 channels, 8 by 8, for 16 images."""

    def call(item: Any, k: int) -> Call:
        takes_map = getattr(item, "takes", "pooled") == "map"
        head = item(64, k)
        features = torch.randn((16, 64, 8, 8) if takes_map else (16, 64))

        def run() -> None:
            head(features).sum().backward()

        return run

    # One network a class: above 900 classes it refuses for its size.
    return {
        name: grown(partial(call, item), (10, 100, 300) if name == "class_heads" else CLASSES, rounds)
        for name, item in components("heads").items()
    }


def interference(_: int) -> dict[str, Any]:
    """Class gradients and everything derived from them, 4 images a class."""

    def call(k: int) -> Call:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, k))
        images, target = torch.randn(4 * k, 3, 4, 4), torch.arange(4 * k) % k
        batches = list(zip(images.split(256), target.split(256), strict=True))
        return lambda: measure(model, batches, parameters="all")

    return {"measure": grown(call, (30, 100, 300, 1000), 1)}


def evaluation(rounds: int) -> dict[str, Any]:
    """Every figure with its interval, over classes at 5,000 images and over images at 100 classes."""

    def call(n: int, k: int) -> Call:
        logits, target, info = scored(n, k)
        return lambda: evaluate(logits, target, info)

    return {
        "over classes": grown(lambda k: call(5000, k), CLASSES, rounds),
        "over images": grown(lambda n: call(n, 100), (1000, 10_000, 100_000), rounds),
    }


def scored(n: int, k: int) -> tuple[np.ndarray, np.ndarray, ClassInfo]:
    """Logits of a classifier that is right about half the time."""
    random = np.random.default_rng(0)
    target = random.integers(0, k, n)
    logits = random.standard_normal((n, k), dtype=np.float32)
    logits[np.arange(n), target] += math.log(k)
    return logits, target, ClassInfo(tuple(f"class {i}" for i in range(k)), tuple(long_tailed(k)))


class Generated:
    """Items that exist by number only."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def name(self, i: int) -> str:
        return f"{i}.png"


def data(_: int) -> dict[str, Any]:
    """What is done once a run or once an epoch with labels alone, in 100 classes."""

    def source(n: int) -> Source:
        labels = np.random.default_rng(0).permutation(np.arange(n) % 100)
        return Source("generated", Generated(n), labels, tuple(map(str, range(100))), ("",) * n)

    def split(n: int) -> Call:
        whole, alone = source(n), np.arange(n)
        return lambda: make_split(whole, groups=alone)

    def pairs(n: int) -> Call:
        whole, twice = source(n), np.arange(n) // 2
        return lambda: make_split(whole, groups=twice)

    def profile(n: int) -> Call:
        whole = source(n)
        return lambda: longtail(whole.labels, Profile("exponential", 10), seed=0)

    def sampler(item: Any, n: int) -> Call:
        known = signature(item).parameters
        filled = {key: value for key, value in {"epochs": 10, "batch_size": 128}.items() if key in known}
        drawn = item(source(n).labels, **filled)
        return lambda: sum(1 for _ in drawn)

    found = {"split": grown(split, ITEMS, 1), "split of pairs": grown(pairs, ITEMS, 1)}
    found["long-tailed profile"] = grown(profile, ITEMS, 1)
    for name, item in components("samplers").items():
        if name not in {"deferred", "cooldown", "two_phase", "m_per_class"}:  # made of others, or of a batch
            found[f"epoch of {name}"] = grown(partial(sampler, item), ITEMS, 1)
    return found


def duplicates(_: int) -> dict[str, Any]:
    """Proposing near-duplicates among hashes of unrelated images."""

    def call(n: int) -> Call:
        bits = np.random.default_rng(0).random((n, 63)) < 0.5
        return lambda: sum(map(len, close_pairs(bits, 12)))

    return {"close pairs": grown(call, (5000, 10_000, 20_000, 40_000), 1)}


def branches(rounds: int) -> dict[str, Any]:
    """A training step of CSBA on resnet8's map of 32 pixels, 100 classes, batch 32."""

    def call(count: int) -> Call:
        model = create_model("resnet8", 100, head="csba", head_options={"branches": count})
        loss, images = CrossEntropyLoss(), torch.rand(32, 3, 32, 32)

        def step() -> None:
            loss(model(images), torch.arange(32)).backward()

        return step

    return {"csba": grown(call, BRANCHES, rounds)}


def forward(rounds: int) -> dict[str, Any]:
    """Evaluation of 25,000 images in 8,142 classes, over one forward pass of them, both on one core."""
    logits, target, info = scored(TESTED, SPECIES)
    begin = time.process_time()
    evaluate(logits, target, info)
    spent = time.process_time() - begin
    found: dict[str, Any] = {"evaluation_seconds": round(spent, 2)}
    for name, images in {
        "resnet32": torch.rand(64, 3, 32, 32),
        "timm/resnet50": torch.rand(4, 3, 224, 224),
    }.items():
        model = create_model(name, SPECIES).eval()
        with torch.no_grad():
            passing = seconds(partial(model, images), rounds) * TESTED / len(images)
        found[name] = {
            "forward_seconds": round(passing, 1),
            "evaluation_over_forward": round(spent / passing, 4),
        }
    return found


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "losses": losses,
    "heads": heads,
    "measure": interference,
    "evaluation": evaluation,
    "data": data,
    "duplicates": duplicates,
    "branches": branches,
    "forward": forward,
}


def plots(found: dict[str, Any], folder: Path) -> None:
    """One picture for losses and one for what grows with items."""
    lines = {
        name: (row["sizes"], row["seconds"])
        for name, row in found.get("losses", {}).items()
        if "sizes" in row
    }
    if lines:
        growth_plot(lines, "classes K", "loss and gradient of 128 examples", folder / "scale-losses.svg")
    lines = {
        name: (row["sizes"], row["seconds"]) for name, row in found.get("data", {}).items() if "sizes" in row
    }
    if lines:
        growth_plot(lines, "items N", "work on labels", folder / "scale-data.svg")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "plots"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench-scale-cpu.json")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for part in options.parts:
        found = json.loads(options.out.read_text()) if options.out.exists() else {}
        if part == "plots":
            plots(found, options.images)
            continue
        rows = PARTS[part](options.rounds)
        for name, row in rows.items():
            print(f"{part} {name}: {row}", flush=True)
        write_json(options.out, found | {part: rows | provenance([0])})


if __name__ == "__main__":
    main()
