"""Exported networks on one processor thread: latency, memory and size against networks for small devices.

    python benchmarks/edge.py [--rounds 15] [--size 224] [--batches 1,32] [--models a,b] [--out NAME]

Ours (tripath with the csba and the branch_sum head, resnet32), timm's MobileNetV3 small and large and
torchvision's SqueezeNet 1.1, with random weights and 6 classes, in float32 and int8, all through ONNX Runtime
in this process. A round times every network once, in an order that turns from round to round; a ratio is that
of the seconds in one round, its interval Student's t over the rounds of its logarithm. resnet32 is a network
for 32 pixels and is run at 32 as well. Memory is the peak that a process of its own gains by loading the file
and running a batch.
"""

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from record import provenance, save
from tailgrad.augment import Normalize
from tailgrad.evaluate.intervals import student_t
from tailgrad.models import create_model
from tailgrad.posthoc import Chain
from tailgrad.recipes.restore import Restored
from tailgrad.ship.artefact import session
from tailgrad.ship.convert import WithProbabilities, converted
from tailgrad.ship.deployed import Deployed
from tailgrad.ship.int8 import quantized

CLASSES = 6
AGAINST = ("mobilenetv3_small_100", "mobilenetv3_large_100", "squeezenet1_1")
LEAST_SECONDS = 0.05
# A process that has loaded ONNX Runtime, then the file, then run a batch: megabytes gained.
MEMORY = """
import sys
import numpy as np, onnxruntime
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
path, batch, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
images = np.zeros((batch, 3, size, size), np.uint8)
before = peak()
made = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
made.run(["logits"], {"images": images})
print(peak() - before)
"""


class Foreign(nn.Module):
    """Another library's network, normalised inside as ours are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images.float() - 127.5) / 63.75)
        return logits


def ours(backbone: str, head: str) -> Callable[[int], nn.Module]:
    def make(size: int) -> nn.Module:
        model = create_model(backbone, CLASSES, head=head).eval()
        names, normalize = tuple("abcdef"), Normalize((0.5,) * 3, (0.25,) * 3)
        return Deployed(Restored(model, names, (size, size), "squash", normalize, Chain([])))

    return make


def timm_model(name: str) -> Callable[[int], nn.Module]:
    def make(_: int) -> nn.Module:
        import timm

        return Foreign(timm.create_model(name, num_classes=CLASSES))

    return make


def squeezenet(_: int) -> nn.Module:
    from torchvision.models import squeezenet1_1

    return Foreign(squeezenet1_1(num_classes=CLASSES))


NETWORKS: dict[str, tuple[Callable[[int], nn.Module], int | None]] = {
    "tripath+csba": (ours("tripath", "csba"), None),
    "tripath+branch_sum": (ours("tripath", "branch_sum"), None),
    "resnet32": (ours("resnet32", "linear"), None),
    "resnet32 at 32": (ours("resnet32", "linear"), 32),
    "mobilenetv3_small_100": (timm_model("mobilenetv3_small_100"), None),
    "mobilenetv3_large_100": (timm_model("mobilenetv3_large_100"), None),
    "squeezenet1_1": (squeezenet, None),
}
"""How each is made, and its own size where that is not the one asked for."""


def pictures(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, size, size), np.uint8)


def build(name: str, size: int, folder: Path) -> list[dict[str, Any]]:
    """Write one network in both precisions; what is known of each file."""
    make, own = NETWORKS[name]
    side = own or size
    torch.manual_seed(0)
    network = make(side)
    _, model = next(converted(WithProbabilities(network, 1.0, None), {"images": pictures(2, side)}))
    rows = []
    for precision, data in (("float32", model), ("int8", quantized(model, {"images": pictures(16, side)}))):
        path = folder / f"{name.replace(' ', '-')}.{precision}.onnx"
        path.write_bytes(data)
        rows.append(
            {
                "model": name,
                "precision": precision,
                "size": side,
                "parameters": sum(p.numel() for p in network.parameters()),
                "megabytes": round(len(data) / 1e6, 3),
                "path": str(path),
            }
        )
    return rows


def memory(row: dict[str, Any], batch: int) -> float:
    words = [sys.executable, "-c", MEMORY, row["path"], str(batch), str(row["size"])]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


def seconds(made: onnxruntime.InferenceSession, images: np.ndarray) -> float:
    """Seconds of one call, over as many as take a moment."""
    calls, begin = 0, time.perf_counter()
    while not calls or time.perf_counter() - begin < LEAST_SECONDS:
        made.run(["logits"], {"images": images})
        calls += 1
    return (time.perf_counter() - begin) / calls


def timed(rows: list[dict[str, Any]], batch: int, rounds: int) -> list[list[float]]:
    """Seconds of every network in every round, after one call each to warm up."""
    made = [session(Path(row["path"]).read_bytes(), row["model"], threads=1) for row in rows]
    images = [pictures(batch, row["size"]) for row in rows]
    for one, some in zip(made, images, strict=True):
        one.run(["logits"], {"images": some})
    found: list[list[float]] = [[] for _ in rows]
    for turn in range(rounds):
        for step in range(len(rows)):
            place = (step + turn) % len(rows) if turn % 2 == 0 else (turn - step) % len(rows)
            found[place].append(seconds(made[place], images[place]))
    return found


def ratio(a: list[float], b: list[float]) -> dict[str, Any]:
    """Geometric mean over rounds of a / b, with an interval of 95 %."""
    found = student_t([math.log(x / y) for x, y in zip(a, b, strict=True)], unit="round")
    ends = [None if end is None else round(math.exp(end), 4) for end in (found.low, found.high)]
    return {"ratio": round(math.exp(found.value), 4), "low": ends[0], "high": ends[1]}


def measured(rows: list[dict[str, Any]], batches: list[int], rounds: int) -> dict[str, Any]:
    ratios = []
    for batch in batches:
        found = timed(rows, batch, rounds)
        for row, times in zip(rows, found, strict=True):
            row[f"milliseconds_batch_{batch}"] = round(1e3 * float(np.median(times)), 3)
            row[f"memory_megabytes_batch_{batch}"] = memory(row, batch)
        for row, times in zip(rows, found, strict=True):
            for other, base in zip(rows, found, strict=True):
                if other["model"] in AGAINST and other["precision"] == row["precision"] and other is not row:
                    about = {key: row[key] for key in ("model", "precision")}
                    ratios.append({**about, "against": other["model"], "batch": batch, **ratio(times, base)})
    return {"rows": [{k: v for k, v in row.items() if k != "path"} for row in rows], "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--models", default=",".join(NETWORKS))
    parser.add_argument("--out", default="bench-edge-cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        rows = [row for model in options.models.split(",") for row in build(model, options.size, Path(name))]
        found = measured(rows, [int(batch) for batch in options.batches.split(",")], options.rounds)
    for row in found["rows"]:
        print(*(f"{key}={value}" for key, value in row.items()))
    for one in found["ratios"]:
        print(f"{one['model']} / {one['against']}, {one['precision']}, batch {one['batch']}: {one['ratio']}")
    content = {
        "what": "latency, memory and size of exported networks, one thread of ONNX Runtime, random weights",
        "rounds": options.rounds,
        "size": options.size,
        "onnxruntime": onnxruntime.__version__,
        "onnxruntime_threads": 1,
        **found,
        **provenance([0]),
    }
    save(options.out, content)


if __name__ == "__main__":
    main()
