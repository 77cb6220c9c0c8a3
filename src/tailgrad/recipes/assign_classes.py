"""The moment in which a run gives the classes their groups of branches."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tailgrad.checks import InputError
from tailgrad.distributed import agreed
from tailgrad.files import write_json
from tailgrad.interference import agreement, group_classes
from tailgrad.interference.gram import Array
from tailgrad.recipes.finish import measure_part
from tailgrad.recipes.job import Job

FILE = "class_groups.json"
MOST_CLASSES = 2000
Pairs = list[tuple[nn.Parameter, nn.Parameter]]


class Assignable(Protocol):
    """A head that is told once, while it trains, which group every class belongs to.

    Args:
        branches: one for each group.
        assign_after: epochs after which it is told.
        by: "conflict" or "random".

    Example: see ``heads.ConflictBranches``.
    """

    branches: nn.ModuleList
    assign_after: int
    by: str

    def assign(self, groups: Sequence[int]) -> Pairs:
        """Groups [K] of the classes; returns trained weights with the weights that became their copies."""
        ...


def assigning(job: Job) -> Callable[[int], None] | None:
    """What the run does after an epoch where its head asks for groups of classes, or None.

    Raises:
        InputError: there are more classes than conflict is measured for.

    Example: see ``recipes.train``.
    """
    head = cast("Assignable", getattr(job.learner.network, "head", None))
    if not callable(getattr(head, "assign", None)):
        return None
    number, epochs = job.ready.classes.num_classes, job.config.train.epochs
    if number > MOST_CLASSES:
        raise InputError(
            f"head.name={job.config.head.name} must have at most {MOST_CLASSES} classes, got {number}; "
            "choose head.name=se_gate"
        )
    if head.assign_after >= epochs:
        job.say(
            f"warning: classes are assigned after epoch {head.assign_after} of {epochs}, when nothing is "
            "left to train; lower head.options.assign_after"
        )

    def assign(epoch: int) -> None:
        if epoch == head.assign_after:
            assign_classes(job, head, epoch)

    return assign


def assign_classes(job: Job, head: Assignable, epoch: int) -> None:
    """Measure conflict on training images, group the classes, tell the head, and write down what was done.

    The groups go to ``class_groups.json``, the measurement to ``interference/assignment``. With
    ``by="random"`` the groups that were found are dealt out anew by the run's seed, so that their sizes stay.

    Args:
        job: the run; its network and the state of its optimiser change.
        head: of the network.
        epoch: the last one finished.

    Raises:
        InputError: conflict cannot be measured.

    Example: see ``tests/recipes/test_assign_classes.py``.
    """
    found = measure_part(job, ("train",))
    found.save(job.folder.path / "interference" / "assignment")
    pull = agreement(found)
    groups = agreed(group_classes(pull, len(head.branches)))
    if head.by == "random":
        generator = torch.Generator().manual_seed(job.config.seed)
        groups = [groups[k] for k in torch.randperm(len(groups), generator=generator).tolist()]
    _carry_state(job.learner.optimizer, head.assign(groups))
    record = _record(job, groups, pull, epoch) | {"by": head.by}
    write_json(job.folder.path / FILE, record)
    job.say(_told(record))


def _carry_state(optimizer: Optimizer, copies: Pairs) -> None:
    """Let a copied weight go on with the moments of the weight it is a copy of."""
    state = getattr(optimizer, "optimizer", optimizer).state  # without what Fabric wraps around it
    for weight, copy in copies:
        if weight in state:
            state[copy] = {
                name: value.clone() if isinstance(value, Tensor) else value
                for name, value in state[weight].items()
            }


def _record(job: Job, groups: Sequence[int], pull: Array, epoch: int) -> dict[str, Any]:
    names, label = job.ready.classes.names, np.asarray(groups)
    rows, columns = np.triu_indices(len(label), 1)
    within = label[rows] == label[columns]
    values = pull[rows, columns]
    return {
        "epoch": epoch,
        "groups": [[names[k] for k in np.flatnonzero(label == b)] for b in range(max(groups) + 1)],
        "undecided": [names[k] for k in np.flatnonzero(~pull.any(1))],
        "agreement_within": _mean(values[within]),
        "agreement_between": _mean(values[~within]),
    }


def _mean(values: Array) -> float | None:
    return float(values.mean()) if len(values) else None


def _told(record: dict[str, Any]) -> str:
    groups = " | ".join(", ".join(names) for names in record["groups"])
    means = [
        f"{where} groups {record[f'agreement_{where}']:+.3f}"
        for where in ("within", "between")
        if record[f"agreement_{where}"] is not None
    ]
    when = f"by {record['by']} after epoch {record['epoch']}"
    return f"classes assigned {when}: {groups}; mean excess {', '.join(means)}"
