"""The moments in which a run measures which classes the ascent of its sharpness-aware optimiser follows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tailgrad.checks import InputError
from tailgrad.distributed import agreed
from tailgrad.files import write_json
from tailgrad.interference import opposition
from tailgrad.optim import ConflictSAM
from tailgrad.recipes.finish import measure_part
from tailgrad.recipes.job import Job
from tailgrad.recipes.run_folder import read_json
from tailgrad.untrusted import of_shape

FILE = "ascent_weights.json"
MOST_CLASSES = 2000
_TOLD = 3


def following(job: Job) -> Callable[[int], None] | None:
    """What the run does after an epoch where its optimiser follows conflict, or None.

    Raises:
        InputError: there are more classes than conflict is measured for.

    Example: see ``recipes.train``.
    """
    rule = getattr(getattr(job.learner.optimizer, "optimizer", None), "rule", None)
    if not isinstance(rule, ConflictSAM):
        return None
    number, epochs = job.ready.classes.num_classes, job.config.train.epochs
    if number > MOST_CLASSES:
        raise InputError(
            f"sharpness.name={job.config.sharpness.name} must have at most {MOST_CLASSES} classes, got "
            f"{number}; choose sharpness.name=direction"
        )
    if rule.after >= epochs:
        job.say(
            f"warning: conflict is measured after epoch {rule.after} of {epochs}, when nothing is left to "
            "train; lower sharpness.options.after"
        )

    def follow(epoch: int) -> None:
        if rule.is_due(epoch) and epoch < epochs:
            follow_conflict(job, rule, epoch)

    return follow


def follow_conflict(job: Job, rule: ConflictSAM, epoch: int) -> None:
    """Measure conflict on training images, tell the rule, and write down what it was told.

    The weights go to ``ascent_weights.json``, the measurement to ``interference/ascent``, where the last one
    stays. With ``by="random"`` the same values are dealt out anew by the run's seed, every time the same way.

    Args:
        job: the run.
        rule: of its optimiser; its weights change.
        epoch: the last one finished.

    Raises:
        InputError: conflict cannot be measured.

    Example: see ``tests/recipes/test_follow_conflict.py``.
    """
    found = measure_part(job, ("train",))
    found.save(job.folder.path / "interference" / "ascent")
    opposed = agreed(opposition(found).tolist())
    rule.follow(_dealt(opposed, job.config.seed) if rule.by == "random" else opposed)
    names, weights = job.ready.classes.names, rule.weights.tolist()
    record = {
        "epoch": epoch,
        "opposition": dict(zip(names, opposed, strict=True)),
        "weights": dict(zip(names, weights, strict=True)),
    }
    path = job.folder.path / FILE
    before = [one for one in _records(path) if one["epoch"] < epoch]  # a later one is of an epoch run again
    write_json(path, {"by": rule.by, "floor": rule.floor, "measured": [*before, record]})
    job.say(_told(rule, record))


def _dealt(values: Sequence[float], seed: int) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    return [values[c] for c in torch.randperm(len(values), generator=generator).tolist()]


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with of_shape(path, "restore it"):
        return [{**one, "epoch": int(one["epoch"])} for one in read_json(path)["measured"]]


def _told(rule: ConflictSAM, record: dict[str, Any]) -> str:
    ranked = sorted(record["weights"].items(), key=lambda item: -item[1])
    words = [f"{name} {weight:.2f}" for name, weight in ranked]
    if len(words) > 2 * _TOLD:
        words = [*words[:_TOLD], "...", words[-1]]
    when = f"after epoch {record['epoch']}"
    if rule.by == "random":
        when += ", dealt out at random"
    if not any(record["opposition"].values()):
        return f"no class is opposed beyond chance {when}: the ascent follows all alike"
    return f"the ascent follows classes by conflict {when}: {', '.join(words)}"
