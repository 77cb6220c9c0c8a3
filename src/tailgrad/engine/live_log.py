"""A run in TensorBoard, MLflow or Weights & Biases: curves, conflict maps, final figures."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tailgrad.checks import InputError
from tailgrad.engine.heat_image import Pixels, heat_image
from tailgrad.engine.observers import Row
from tailgrad.interference.monitor_record import scalars
from tailgrad.types import StepRecord

if TYPE_CHECKING:
    from tailgrad.interference.result import Interference

CURVES = 20
"""Classes with a curve of their own at a time: those with the smallest recall."""


class Program(Protocol):
    """What a run is followed in."""

    def begin(self, settings: Mapping[str, Any]) -> None:
        """The configuration, by the names of its keys."""

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Numbers by name."""

    def show(self, name: str, pixels: Pixels, step: int) -> None:
        """A picture [H, W, 3], uint8."""

    def save(self) -> None:
        """Hand over what waits."""

    def end(self, figures: Mapping[str, float]) -> None:
        """The run is finished, with these figures."""


class LiveLog:
    """An observer that passes on what is worth following, all of it under the number of the step.

    So a program that can forget what came after a step forgets exactly what a resumed run repeats.

    Args:
        program: TensorBoard, MLflow or Weights & Biases.
        step: steps done in earlier sittings.

    Example: see ``tests/recipes/test_loggers.py``.
    """

    def __init__(self, program: Program, step: int = 0) -> None:
        self.program, self.step = program, step

    def on_step(self, record: StepRecord) -> None:
        """Log the step's loss."""
        self.step = record.step
        self.program.log({"step_loss": record.loss}, self.step)

    def on_record(self, record: Row) -> None:
        """Log every number of a record of the monitor."""
        self.program.log(scalars(record), int(record["step"]))

    def on_epoch(self, row: Row) -> None:
        """Log every number of the row, and the recall of the worst classes."""
        recall = row.get("val_recall", {})
        worst = sorted(recall, key=recall.__getitem__)[:CURVES]
        self.program.log(_numbers(row) | {f"recall/{name}": recall[name] for name in worst}, self.step)
        self.program.save()

    def on_interference(self, name: str, found: "Interference") -> None:
        """Show the conflict of all pairs of classes, and what of it lies beyond its null.

        Args:
            name: which measurement it is, such as "early".
            found: the measurement; where it keeps no matrix, for very many classes, nothing is shown.
        """
        try:
            matrices = {"conflict": found.conflict, "excess": found.excess}
        except InputError:
            return
        for what, matrix in matrices.items():
            self.program.show(f"{what}/{name}", heat_image(np.asarray(matrix)), self.step)

    def on_result(self, result: Mapping[str, Any]) -> None:
        """Log the final figures with their intervals, and end."""
        test = result["test"]
        figures = {key: test[key] for key in ("macro_f1", "accuracy", "balanced_accuracy") if key in test}
        found = scalars(figures, "test") | {"best_epoch": float(result["best_epoch"])}
        self.program.log(found | _class_figures(test["classes"]), self.step)
        self.program.end(found)


def _numbers(row: Row) -> dict[str, float]:
    return {key: float(value) for key, value in row.items() if isinstance(value, int | float)}


def _class_figures(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Recall and F1 of the classes with the smallest F1."""
    known = [row for row in rows if row["f1"]["value"] is not None and row["recall"]["value"] is not None]
    worst = sorted(known, key=lambda row: row["f1"]["value"])[:CURVES]
    return {
        f"test_{key}/{row['name']}": float(row[key]["value"]) for row in worst for key in ("f1", "recall")
    }
