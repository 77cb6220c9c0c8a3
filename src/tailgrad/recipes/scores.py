"""What a run scores on validation data, and what it says at the end."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.engine import Learner, infer
from tailgrad.evaluate import Evaluation, evaluate_predictions
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.task import task_of
from tailgrad.types import ClassInfo

Row = dict[str, Any]
CLASSES = 100
"""Classes whose recall is kept every epoch."""


def validator(
    learner: Learner, prepared: Prepared, batch_size: int, focus: str | None, chosen_by: str = "macro_f1"
) -> Callable[[], Row]:
    """A function that scores the current model on the validation part.

    Args:
        learner: with the model.
        prepared: with the validation images.
        batch_size: images at a time.
        focus: class in focus, if any.
        chosen_by: figure that chooses the epoch, told where there is a class in focus.

    Example: see ``recipes.train``.
    """
    loader, task = prepared.loader("val", batch_size), task_of(prepared.source)

    def validate() -> Row:
        logits, target, _ = infer(learner, loader)
        row = task.score(logits, target, prepared.classes, learner.loss, focus)
        return row if focus is None else row | {"chosen_by": chosen_by}

    return validate


def score(
    logits: Tensor, target: Tensor, classes: ClassInfo, loss: nn.Module, focus: str | None = None
) -> Row:
    """Validation figures of an epoch by name.

    Args:
        logits: [N, K].
        target: [N].
        classes: K names and training counts.
        loss: the training loss; its value here is ``val_loss`` where it takes logits and means the same in
            every epoch. Otherwise, with deferred weights or accumulated state, it is cross-entropy.
        focus: class whose F1 becomes ``val_focus_f1``.

    Example:
        >>> from tailgrad.losses import CrossEntropyLoss
        >>> row = score(torch.eye(2), torch.tensor([0, 1]), ClassInfo(("a", "b"), (3, 1)), CrossEntropyLoss())
        >>> row["val_macro_f1"]
        1.0
    """
    found = evaluate_predictions(logits.argmax(1).numpy(), target.numpy(), classes, resamples=0)
    row = {
        "val_loss": _loss_value(loss, logits, target),
        "val_macro_f1": float(found.macro_f1.value),
        "val_accuracy": float(found.accuracy.value),
        "val_balanced_accuracy": float(found.balanced_accuracy.value),
        "val_worst_f1": float(found.row(found.worst_class).f1.value),
        "val_worst_class": found.worst_class,
        "val_recall": _recall(found),
    }
    if focus is not None:
        row["val_focus_f1"] = float(found.row(focus).f1.value)
    return row


def _recall(found: Evaluation) -> dict[str, float]:
    """Recall of each class with validation images; of more than ``CLASSES`` those with the smallest."""
    known = {row.name: round(float(row.recall.value), 4) for row in found.classes if row.support}
    if len(known) <= CLASSES:
        return known
    return {name: known[name] for name in sorted(known, key=known.__getitem__)[:CLASSES]}


def _loss_value(loss: nn.Module, logits: Tensor, target: Tensor) -> float:
    if getattr(loss, "takes", "logits") != "logits" or _changes(loss):
        return float(nn.functional.cross_entropy(logits, target))
    loss = _reduced(loss)
    device = next((b.device for b in loss.buffers()), logits.device)
    with torch.no_grad():
        return float(loss(logits.to(device), target.to(device)).mean())


def _changes(loss: nn.Module) -> bool:
    """Whether a loss means another thing from epoch to epoch: it is scheduled, or has state."""
    weighting = getattr(loss, "weighting", None)
    scheduled = weighting.defer > 0 if weighting is not None else hasattr(loss, "set_epoch")
    return scheduled or any(name.rpartition(".")[2] != "weight" for name, _ in loss.named_buffers())


def _reduced(loss: nn.Module) -> nn.Module:
    """The same loss as a mean, where training wants one number an example; its state stays shared."""
    if getattr(loss, "reduction", "mean") != "none":
        return loss
    mean = copy.copy(loss)
    mean.reduction = "mean"  # type: ignore[assignment]  # a name, which nn.Module's stubs do not expect
    return mean
