"""What losses and steps cost against cross-entropy and SGD, in one process run.

    python benchmarks/methods.py PART ... [--rounds 15]

Parts: losses-10, losses-1000, losses-8142 (forward and backward of every loss over cross-entropy's on
[128, K]), soft-1000 (the same for targets of probabilities), steps (a training step of every method over one
of cross-entropy and SGD, on the 8-layer residual network at 32 pixels, 10 classes, batch 64). Each writes
its own entry into results/bench-methods-<device>.json, so that parts can be run one by one, in any order,
and again. Every loss and optimiser that tailgrad exports is timed; there is no list to keep.
"""

import argparse
import inspect
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

import tailgrad.optim
from record import ROOT, paired_ratio, provenance
from tailgrad.augment import SimCLRViews
from tailgrad.engine import (
    Auxiliary,
    Learner,
    Schedule,
    balanced_step,
    combined_step,
    gap_step,
    joint_objective,
    sharp_step,
    supervised_step,
    two_branch_objective,
)
from tailgrad.files import write_json
from tailgrad.heads import Linear
from tailgrad.losses import CrossEntropyLoss, NTXentLoss, RIDELoss
from tailgrad.models import BBN, Classifier, MultiExpert, Projector, resnet8
from tailgrad.optim import AsymmetricSAM, ClassGradientOptimizer, Combiner, GapWeights, ShareBalancer
from tailgrad.optim.asymmetric_sam import VARIANTS, passes
from tailgrad.recipes.components import components
from tailgrad.types import Batch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH, WIDTH, EXPERTS = 128, 64, 3
CLASSES, IMAGES = 10, 64
SHORTEST, LONGEST = 0.01, 30.0  # seconds that one timing lasts at least, and all of a pair at most
GOALS = {"losses-1000": 3.0, "sam": 2.1, "direction": 2.1, "scaled": 2.8, "imbsam": 2.8, "focal_sam": 2.8}
REASONS = {
    "bcl": "compares 256 views with one another and with K centres, not 128 rows of logits",
    "distribution_balanced": "a sigmoid, a power and a logarithm for each class, where softmax has one pass",
    "dual_focal": "looks for the most probable class below the label",
    "equalization": "draws a number for each class of each example",
    "multi_label_asymmetric": "a sigmoid, powers and logarithms for each class, where softmax has one pass",
    "neural_collapse": "compares K class means with one another",
    "nt_xent": "compares 256 views with one another, not 128 rows of logits",
    "ride": f"{EXPERTS} times the logits, and their divergences from the mean",
    "sup_con": "compares 256 views with one another, not 128 rows of logits",
}
Call = Callable[[], object]


def long_tailed(num_classes: int) -> list[int]:
    """Exponential class counts, imbalance factor 100."""
    return [max(1, round(500 * 100 ** (-k / (num_classes - 1)))) for k in range(num_classes)]


def compare(call: Call, reference: Call, rounds: int) -> dict[str, Any]:
    """The paired ratio, of as many calls a timing as can be measured; fewer rounds of what is very slow."""

    def seconds(one: Call) -> float:
        one()  # the first call of all is no measure
        begin = time.perf_counter()
        one()
        return time.perf_counter() - begin

    slow, fast = seconds(call), seconds(reference)
    repeats = max(1, int(SHORTEST / fast))
    rounds = max(min(rounds, 5), min(rounds, int(LONGEST / (slow * repeats))))

    def repeated(one: Call) -> Call:
        return lambda: [one() for _ in range(repeats)]

    return paired_ratio(repeated(call), repeated(reference), rounds, warm_up=False) | {"calls": repeats}


# Losses


def passed(loss: nn.Module, x: Tensor, target: Tensor) -> Call:
    """One forward and backward pass to the loss's input and parameters."""
    loss, x, target = loss.to(DEVICE), x.to(DEVICE).requires_grad_(), target.to(DEVICE)

    def run() -> None:
        x.grad = None
        loss.zero_grad(set_to_none=True)
        loss(x, target).backward()

    return run


def made(item: Any, num_classes: int) -> nn.Module:
    """A loss with what it needs beside counts: the width of features, fixed class vectors."""
    known = inspect.signature(item).parameters
    needs = {"dim": WIDTH, "vectors": F.normalize(torch.randn(WIDTH, num_classes), dim=0)}
    return item(long_tailed(num_classes), **{key: value for key, value in needs.items() if key in known})


def fitting(name: str, item: Any, num_classes: int) -> Tensor:
    """Numbers of the kind that a loss takes; two views where it compares them."""
    if item.takes == "experts":
        return torch.randn(EXPERTS, BATCH, num_classes)
    if item.takes == "features":
        views = ", N, D]" in (inspect.getdoc(item.forward) or "")
        return torch.randn((2, BATCH, WIDTH) if views else (BATCH, WIDTH))
    logits = torch.randn(BATCH, num_classes)
    return 10 * logits.tanh() if name == "ldam" else logits


def losses(num_classes: int, soft: bool, rounds: int) -> dict[str, Any]:
    """Every loss against cross-entropy on logits [128, K] and the same labels."""
    torch.manual_seed(0)
    labels = torch.randint(num_classes, (BATCH,))
    rows = F.one_hot(labels, num_classes)
    mixed = 0.7 * rows + 0.3 * rows.roll(1, 0)
    target = mixed if soft else labels
    reference = passed(CrossEntropyLoss(), torch.randn(BATCH, num_classes), target)
    found: dict[str, Any] = {"batch": BATCH, "classes": num_classes, "soft_targets": soft}
    for name, item in components("losses").items():
        if soft and not (item.soft_targets and item.takes == "logits"):
            continue
        wanted = rows if getattr(item, "multi_label", False) else target
        call = passed(made(item, num_classes), fitting(name, item, num_classes), wanted)
        found[name] = compare(call, reference, rounds) | (
            {"reason": REASONS[name]} if name in REASONS else {}
        )
        show(name, found[name], None if soft else GOALS.get(f"losses-{num_classes}"))
    return found


# Steps


def network(**_: Any) -> Classifier:
    backbone = resnet8()
    return Classifier(backbone, Linear(backbone.channels, CLASSES))


def learner(
    model: nn.Module, loss: nn.Module, wrap: Callable[..., Any] | None = None, **more: Any
) -> Learner:
    """SGD with momentum on bytes made floating point; ``wrap`` puts another optimiser around it."""
    fabric = Fabric(accelerator="gpu" if DEVICE == "cuda" else "cpu", devices=1)
    model, loss = model.to(DEVICE), loss.to(DEVICE)
    parameters = [*model.parameters(), *loss.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
    if wrap is not None:
        optimizer = wrap(model, optimizer)
    module, stepper = fabric.setup(model, optimizer)
    return Learner(fabric, module, loss, stepper, Schedule(), lambda x: x.float() / 255, lambda x: x, **more)


def batch() -> Batch:
    def drawn() -> Batch:
        images = torch.randint(256, (IMAGES, 3, 32, 32), dtype=torch.uint8, device=DEVICE)
        return Batch(images, torch.arange(IMAGES, device=DEVICE) % CLASSES, torch.arange(IMAGES))

    one, other = drawn(), drawn()
    return Batch(one.inputs, one.target, one.index, partner=other)


def _each() -> CrossEntropyLoss:
    return CrossEntropyLoss(reduction="none")


def _carrying(loss: nn.Module, name: str, module: nn.Module) -> nn.Module:
    loss.add_module(name, module)
    return loss


def kinds() -> dict[str, tuple[Callable[[Learner, Batch], Tensor], Learner]]:
    """Every step with a learner of its own."""
    counts = long_tailed(CLASSES)

    def sharp(variant: str) -> Learner:
        return learner(network(), _each(), lambda m, base: AsymmetricSAM(m, base, counts, variant=variant))

    def combining(item: Any) -> Learner:
        combiner = item(*([CLASSES] if "num_classes" in inspect.signature(item).parameters else []))
        return learner(network(), _each(), lambda m, base: ClassGradientOptimizer(m.backbone, base, combiner))

    def head(backbone: Any) -> nn.Module:
        return Linear(backbone.pooled, CLASSES)

    exported = {name: getattr(tailgrad.optim, name) for name in tailgrad.optim.__all__}
    combiners = {n: c for n, c in exported.items() if inspect.isclass(c) and issubclass(c, Combiner)}
    joint = _carrying(CrossEntropyLoss(), "auxiliary", Auxiliary(NTXentLoss(), 1.0, Projector(64)))
    return {
        **{variant: (sharp_step, sharp(variant)) for variant in VARIANTS},
        **{n: (combined_step, combining(c)) for n, c in combiners.items() if c is not Combiner},
        **{
            name: (supervised_step, learner(network(), CrossEntropyLoss(), mix=item(counts)))
            for name, item in components("mixers").items()
        },
        "share balancer": (
            balanced_step,
            learner(network(), _carrying(CrossEntropyLoss(), "balancer", ShareBalancer(CLASSES))),
        ),
        "gap weights": (
            gap_step,
            learner(network(), _carrying(_each(), "gap", GapWeights([1.0] * CLASSES))),
        ),
        "Joint-SSL": (
            supervised_step,
            learner(network(), joint, objective=joint_objective, views=SimCLRViews()),
        ),
        "BBN": (
            supervised_step,
            learner(BBN(resnet8, head), CrossEntropyLoss(), objective=two_branch_objective),
        ),
        "RIDE": (
            supervised_step,
            learner(MultiExpert(resnet8, head, experts=EXPERTS), RIDELoss(counts)),
        ),
    }


def steps(rounds: int) -> dict[str, Any]:
    """Every step against one of cross-entropy and SGD on the same batch."""
    torch.manual_seed(0)
    data, plain = batch(), learner(network(), CrossEntropyLoss())
    found: dict[str, Any] = {"batch": IMAGES, "classes": CLASSES, "network": "resnet8 at 32 pixels"}
    for name, (step, each) in kinds().items():
        each.start_epoch(1, 1)

        def call(step: Any = step, each: Learner = each) -> None:
            step(each, data)

        found[name] = compare(call, lambda: supervised_step(plain, data), rounds)
        if name in VARIANTS:
            found[name]["passes"] = round(passes(name, CLASSES), 2)
        show(name, found[name], GOALS.get(name))
    return found


def show(name: str, found: dict[str, Any], goal: float | None) -> None:
    low, high = found["ratio_quartiles"]
    print(f"{name:28} {found['ratio_median']:7.2f} times, quartiles {low:.2f} to {high:.2f}", end="")
    over = goal is not None and found["ratio_median"] > goal
    print(f", over the goal of {goal}: {found.get('reason', 'no reason known')}" if over else "", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts: dict[str, Callable[[int], dict[str, Any]]] = {
        **{f"losses-{k}": lambda rounds, k=k: losses(k, False, rounds) for k in (10, 1000, 8142)},
        "soft-1000": lambda rounds: losses(1000, True, rounds),
        "steps": steps,
    }
    parser.add_argument("parts", nargs="+", choices=parts, metavar="PART")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / f"bench-methods-{DEVICE}.json")
    options = parser.parse_args()
    for part in options.parts:
        content = json.loads(options.out.read_text()) if options.out.exists() else {}
        content[part] = parts[part](options.rounds) | provenance([0])
        print(f"{part}: wrote {write_json(options.out, content).name}")


if __name__ == "__main__":
    main()
