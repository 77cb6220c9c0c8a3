"""What a shipped network does not know, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from tailgrad.ship.description import ROWS, SEVERAL

FEW = 30
"""Test images or rows of a class under which its figures are called uncertain."""
_TOLD = 12


def limits(result: Mapping[str, Any], calibration: str, task: str) -> list[str]:
    """Seeds, the world that figures hold for, rare and unseen classes, calibration, replaced labels.

    Args:
        result: of a finished run.
        calibration: where the temperature comes from; ``"none"`` where there is none.
        task: of ``Description``.

    Example: see ``ship.export``.
    """
    classes = result["test"]["classes"]
    one, many = ("row", "rows") if task == ROWS else ("image", "images")
    few = [row["name"] for row in classes if row["support"] < FEW]
    unseen = [row["name"] for row in classes if not row["train_count"]]
    found = [
        f"Trained once, with seed {result['seed']}, on {result['train_images']} {many} of {result['data']}: "
        "how much another seed would differ is not known from this run.",
        *(_of_labels(classes) if task == SEVERAL else _of_one_label(one, many)),
    ]
    if task == ROWS:
        found.append(
            "A category that training has not seen counts as any other that it has not, and a missing number "
            "as the training median; predict says where."
        )
    if few:
        found.append(f"Fewer than {FEW} test {many}: {_some(few)}. Read their intervals, not their figures.")
    if unseen:
        found.append(f"Never seen in training: {_some(unseen)}.")
    if calibration == "none":
        found.append("The probabilities are not calibrated.")
    if result.get("wrong_labels"):
        found.append(f"{result['wrong_labels']} training labels were replaced on purpose.")
    return found


def _of_one_label(one: str, many: str) -> list[str]:
    article = "An" if one == "image" else "A"
    return [
        f"{article} {one} of none of the classes is given one of them all the same.",
        f"Figures hold for {many} drawn as the test {many} were; a target prior changes class frequencies "
        f"and assumes that {many} of a class look as they did.",
    ]


def _of_labels(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    guessed = [row["name"] for row in classes if not row["fitted"]]
    found = [
        "An image may be given any number of labels, none too; the probabilities of labels do not sum to 1.",
        "Figures hold for images drawn as the test images were: where labels are rarer, a threshold lets "
        "more false alarms through for every one that is right.",
    ]
    if guessed:
        found.append(f"No validation image has it, so that its threshold is a guess: {_some(guessed)}.")
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f"{', '.join(names[:_TOLD])}{more}"
