"""Class gradients against a plain pass over the same images, masked backward passes, TorchJD and vmap.

    python benchmarks/interference.py PART ... [--rounds 3] [--images 1.0]

Parts: cost-10, cost-100, cost-1000, folds-10, folds-100, measure-10, measure-100, masked-10, masked-100,
torchjd, vmap, memory-100, memory-10000, monitor. Each writes its own entry into
results/bench-interference-<device>.json, so that parts can be run one by one, in any order, and again.
The floor of a ratio is 1: one forward and backward pass over the same images with the same network in
evaluation mode.
"""

import argparse
import copy
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from record import ROOT, paired_ratio, provenance, save
from tailgrad.interference import Monitor, class_gradients, measure
from tailgrad.models import create_model

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH = 256 if DEVICE == "cuda" else 128  # on CPUs a plain pass is fastest there, and so the floor lowest
NAME = f"bench-interference-{DEVICE}"
SIZES = {10: 12_406, 100: 10_847, 1000: 12_000}
GOALS = {
    "cost-10": 1.2,
    "cost-100": 1.5,
    "cost-1000": 2.0,
    "folds-10": 1.6,
    "folds-100": 1.6,
    "masked-10": 1 / 4,
    "masked-100": 1 / 15,
    "torchjd": 1.0,
    "vmap": 1.0,
}
Batches = list[tuple[Tensor, Tensor]]


def long_tailed(num_classes: int, share: float = 1.0) -> Batches:
    """Random images of 32 pixels in shuffled batches, exponential class counts, imbalance factor 100."""
    shape = np.array([100 ** (-k / (num_classes - 1)) for k in range(num_classes)])
    counts = np.maximum(1, np.round(shape * SIZES[num_classes] * share / shape.sum())).astype(int)
    target = torch.repeat_interleave(torch.arange(num_classes), torch.from_numpy(counts))
    generator = torch.Generator().manual_seed(0)
    target = target[torch.randperm(len(target), generator=generator)]
    images = torch.randn(len(target), 3, 32, 32, generator=generator)
    return list(zip(images.to(DEVICE).split(BATCH), target.to(DEVICE).split(BATCH), strict=True))


def network(name: str, num_classes: int) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, num_classes=num_classes).to(DEVICE).eval()


def plain(model: nn.Module, data: Batches) -> Callable[[], None]:
    parameters = list(model.parameters())

    def run() -> None:
        for images, target in data:
            loss = F.cross_entropy(model(images), target, reduction="sum")
            torch.autograd.grad(loss, parameters)

    return run


def masked(model: nn.Module, data: Batches) -> Callable[[], None]:
    """One backward pass for every class present in a batch: what a straightforward programme does."""
    parameters = list(model.parameters())

    def run() -> None:
        for images, target in data:
            losses = F.cross_entropy(model(images), target, reduction="none")
            for label in target.unique():
                torch.autograd.grad(losses[target == label].sum(), parameters, retain_graph=True)

    return run


def cost(num_classes: int, folds: int, options: argparse.Namespace, whole: bool = False) -> dict[str, Any]:
    data = long_tailed(num_classes, options.images)
    names = ["resnet32", "tripath"] if num_classes == 10 and not folds and not whole else ["resnet32"]
    found: dict[str, Any] = {"images": sum(len(target) for _, target in data), "classes": num_classes}
    for name in names:
        model = network(name, num_classes)

        def ours(batches: Batches = data, model: nn.Module = model) -> None:
            if whole:
                measure(model, batches)
            else:
                class_gradients(model, batches, parameters="all", folds=folds)

        for warm_up in (ours, lambda batches: plain(model, batches)()):  # noqa: B023 - called at once
            warm_up(data[:2])
        found[name] = paired_ratio(ours, plain(model, data), options.rounds, warm_up=False)
    return found


def against_masked(num_classes: int, options: argparse.Namespace) -> dict[str, Any]:
    data = long_tailed(num_classes, options.images * (0.2 if num_classes == 10 else 0.1))
    model = network("resnet32", num_classes)
    ours = paired_ratio(
        lambda: class_gradients(model, data, parameters="all"), masked(model, data), options.rounds
    )
    return {"images": sum(len(target) for _, target in data), "classes": num_classes, "resnet32": ours}


class GroupNormNet(nn.Module):
    """A small convolutional network without BatchNorm, in-place operations or buffers."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(4, after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean((2, 3)))


def _class_losses(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    losses = F.cross_entropy(model(images), target, reduction="none")
    return torch.stack([losses[target == label].mean() for label in target.unique()])


def torchjd(options: argparse.Namespace) -> dict[str, Any]:
    """The Gram of the class gradients of one batch."""
    from torchjd.autogram import Engine

    found: dict[str, Any] = {"images": 128, "classes": 10}
    images, target = torch.randn(128, 3, 32, 32, device=DEVICE), torch.arange(128, device=DEVICE) % 10
    models = {
        "groupnorm, batch_dim=0": GroupNormNet(10).to(DEVICE).eval(),
        "resnet32, batch_dim=None": network("resnet32", 10),
    }
    batched, whole = (copy.deepcopy(model) for model in models.values())  # an engine hooks every forward pass
    engines = Engine(batched, batch_dim=0), Engine(whole, batch_dim=None)

    def per_example() -> Tensor:
        gramian = engines[0].compute_gramian(F.cross_entropy(batched(images), target, reduction="none"))
        mean = F.one_hot(target).double()
        mean = (mean / mean.sum(0)).to(gramian)
        return mean.T @ gramian @ mean

    theirs = {
        "groupnorm, batch_dim=0": per_example,
        "resnet32, batch_dim=None": lambda: engines[1].compute_gramian(_class_losses(whole, images, target)),
    }
    for name, model in models.items():

        def gram(model: nn.Module = model) -> Any:
            return class_gradients(model, [(images, target)], parameters="all").gram()

        error = np.abs(gram() - theirs[name]().detach().cpu().numpy()).max() / np.abs(gram()).max()
        found[name] = paired_ratio(gram, theirs[name], options.rounds) | {"largest_difference": float(error)}
    return found


def vmapped(options: argparse.Namespace) -> dict[str, Any]:
    """Per-example gradients by torch.func, summed by class."""
    data = long_tailed(10, 0.2 * options.images)
    model = network("resnet32", 10)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(parameters: dict[str, Tensor], image: Tensor, target: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, (parameters, buffers), (image[None],))
        return F.cross_entropy(logits, target[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    sums = {name: torch.zeros(10, p.numel(), device=DEVICE) for name, p in parameters.items()}

    def theirs() -> None:
        for images, target in data:
            for part, labels in zip(images.split(64), target.split(64), strict=True):
                for name, gradient in each(parameters, part, labels).items():
                    sums[name].index_add_(0, labels, gradient.flatten(1))

    ratio = paired_ratio(lambda: class_gradients(model, data, parameters="all"), theirs, options.rounds)
    return {"images": sum(len(target) for _, target in data), "classes": 10, "resnet32": ratio}


def monitor(options: argparse.Namespace) -> dict[str, Any]:
    """Training steps with a monitor against the same steps without one."""
    model = network("resnet32", 10).train()
    data = [(images[:128], target[:128]) for images, target in long_tailed(10, 0.1 * options.images)[:4]]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def steps(watch: Monitor | None, number: int) -> Callable[[], None]:
        def run() -> None:
            for images, target in islice(cycle(data), number):
                if watch is not None:
                    watch.begin(target)
                optimizer.zero_grad()
                F.cross_entropy(model(images), target).backward()
                if watch is not None:
                    watch.backward_done()
                optimizer.step()
                if watch is not None:
                    watch.step_done()

        return run

    # every, steps a call, rounds
    kinds = {
        "due every step": (1, 4, 4 * options.rounds),
        "every 20 steps": (20, 20, options.rounds),
        "not due": (10**9, 4, 4 * options.rounds),
    }
    return {
        name: paired_ratio(steps(Monitor(model, 10, every=every), number), steps(None, number), rounds)
        for name, (every, number, rounds) in kinds.items()
    }


def memory(num_classes: int) -> dict[str, Any]:
    """Peak memory of a fresh process that measures, less that of one that makes a plain pass, in MB."""
    peaks = {}
    kinds = ("plain", "ours", "folds") if num_classes < 10_000 else ("plain", "ours")
    for kind in kinds:
        command = [sys.executable, __file__, "--peak", kind, "--classes", str(num_classes)]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks[kind] = json.loads(found.stdout.splitlines()[-1])
        print(kind, peaks[kind])
    plain_mb = peaks["plain"]["peak_mb"]
    return {
        "classes": num_classes,
        **peaks,
        "above_plain_mb": {kind: round(peaks[kind]["peak_mb"] - plain_mb, 1) for kind in kinds[1:]},
    }


def _peak(kind: str, num_classes: int) -> None:
    model: nn.Module
    if num_classes == 10_000:
        import timm

        torch.manual_seed(0)
        model = timm.create_model("resnet50", num_classes=num_classes).eval()
        # what is kept grows with classes and parameters, not with examples: a few images will do
        images, target = torch.randn(512, 3, 32, 32), torch.randperm(num_classes)[:512]
        data = list(zip(images.split(BATCH), target.split(BATCH), strict=True))
        selected = "backbone"
    else:
        model, data, selected = network("resnet32", num_classes), long_tailed(num_classes, 0.2), "all"
    allowed = {"plain": 0, "ours": 0, "folds": 0}
    if kind == "plain":
        plain(model, data)()
    else:
        folds = 8 if kind == "folds" and num_classes < 10_000 else 0
        gradients = class_gradients(model, data, parameters=selected, folds=folds)
        numbers = sum(model.get_parameter(name).numel() for name in gradients.groups.members())
        kept = gradients.sketch or numbers
        allowed[kind] = 4 * num_classes * kept + (4 * 8 * num_classes * 1024 if folds else 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(p.numel() for p in model.parameters())
    print(
        json.dumps(
            {"peak_mb": round(peak, 1), "results_mb": round(allowed[kind] / 2**20, 1), "parameters": size}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        **{f"cost-{k}": lambda o, k=k: cost(k, 0, o) for k in (10, 100, 1000)},
        **{f"folds-{k}": lambda o, k=k: cost(k, 8, o) for k in (10, 100)},
        **{f"measure-{k}": lambda o, k=k: cost(k, 8, o, whole=True) for k in (10, 100)},
        **{f"masked-{k}": lambda o, k=k: against_masked(k, o) for k in (10, 100)},
        "torchjd": torchjd,
        "vmap": vmapped,
        "memory-100": lambda _: memory(100),
        "memory-10000": lambda _: memory(10_000),
        "monitor": monitor,
    }
    parser.add_argument("parts", nargs="*", choices=[*parts, []])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=float, default=1.0, help="share of the images, to try it out")
    parser.add_argument("--peak", choices=["plain", "ours", "folds"])
    parser.add_argument("--classes", type=int, default=100)
    options = parser.parse_args()
    if options.peak:
        return _peak(options.peak, options.classes)
    for part in options.parts or parts:
        path = ROOT / "results" / f"{NAME}.json"
        content = json.loads(path.read_text()) if path.exists() else {}
        found = parts[part](options) | {"share_of_images": options.images} | provenance([0])
        print(
            part, json.dumps({k: v for k, v in found.items() if isinstance(v, dict) and "ratio_median" in v})
        )
        if part in GOALS:
            print(f"{part}: goal {GOALS[part]:.3f}")
        save(NAME, content | {part: found})
    return None


if __name__ == "__main__":
    main()
