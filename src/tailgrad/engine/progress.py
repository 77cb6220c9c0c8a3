"""A progress line for people, lines for logs, and a file for whoever watches many runs."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from tailgrad.engine.observers import Row
from tailgrad.files import finite
from tailgrad.types import StepRecord


class ProgressBar:
    """An observer that draws on ``console`` while it is entered as a context.

    Args:
        steps: steps of the whole run.
        title: what is running.
        console: where to draw (standard error, so that output can be piped).
        done: steps already taken, on resume.

    Example:
        >>> from io import StringIO
        >>> with ProgressBar(10, "run", Console(file=StringIO())) as bar:
        ...     bar.on_step(StepRecord(step=1, epoch=1, loss=0.5))
    """

    def __init__(self, steps: int, title: str, console: Console, done: int = 0) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(Text(title).plain, total=steps, completed=done, note="")
        self._scores = ""

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_step(self, record: StepRecord) -> None:
        """Advance to the step."""
        note = f"epoch {record.epoch} loss {record.loss:.3f}{self._scores}"
        self._progress.update(self._task, completed=record.step, note=note)

    def on_epoch(self, row: Row) -> None:
        """Show the validation scores beside the loss from now on."""
        worst = str(row.get("val_worst_class", ""))[:24]
        self._scores = (
            f" | macro-F1 {row.get('val_macro_f1', float('nan')):.3f}"
            f" | worst {worst} {row.get('val_worst_f1', float('nan')):.2f}"
        )


class ProgressLines:
    """An observer for logs: at the end of an epoch it says how far the run is, but not too often.

    Args:
        steps: steps of the whole run.
        say: takes a line.
        every: least seconds between two lines.

    Example:
        >>> lines = ProgressLines(10, print, every=0)
        >>> lines.on_step(StepRecord(step=5, epoch=1, loss=0.5))
        >>> lines.on_epoch({"epoch": 1, "train_loss": 0.5, "val_macro_f1": 0.25})
        epoch 1, 50 % of the steps: loss 0.500, validation macro-F1 0.250
    """

    def __init__(self, steps: int, say: Callable[[str], None], every: float = 60.0) -> None:
        self.steps, self.say, self.every = steps, say, every
        self._step, self._said = 0, time.monotonic()

    def on_step(self, record: StepRecord) -> None:
        """Note the step."""
        self._step = record.step

    def on_epoch(self, row: Row) -> None:
        """Say a line where the last one is old enough."""
        if time.monotonic() - self._said < self.every:
            return
        self._said = time.monotonic()
        share = 100 * self._step / max(1, self.steps)
        score = row.get("val_macro_f1", float("nan"))
        loss = row["train_loss"]
        scores = f"loss {loss:.3f}, validation macro-F1 {score:.3f}"
        self.say(f"epoch {row['epoch']}, {share:.0f} % of the steps: {scores}")


class ProgressFile:
    """An observer that keeps a small JSON file: steps done and to do, epoch, loss, macro-F1.

    It is written at most once in ``every`` seconds and never waits for the disk; a file that cannot be
    written is no reason to stop a run.

    Args:
        path: the file; its folder exists.
        steps: steps of the whole run.
        every: least seconds between two writes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "progress.json"
        >>> ProgressFile(path, steps=10).on_step(StepRecord(step=1, epoch=1, loss=0.5))
        >>> path.read_text()
        '{"steps": 10, "step": 1, "epoch": 1, "loss": 0.5}'
    """

    def __init__(self, path: Path, steps: int, every: float = 0.5) -> None:
        self.path, self.every = path, every
        self._now: Row = {"steps": steps}
        self._written = -float("inf")

    def on_step(self, record: StepRecord) -> None:
        """Note the step."""
        self._now |= {"step": record.step, "epoch": record.epoch, "loss": record.loss}
        if time.monotonic() - self._written >= self.every:
            self._write()

    def on_epoch(self, row: Row) -> None:
        """Note the validation score."""
        self._now |= {"epoch": row["epoch"], "macro_f1": row.get("val_macro_f1")}
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        partial = self.path.with_name(f".{self.path.name}.partial")
        with suppress(OSError):
            partial.write_text(json.dumps(finite(self._now)), "utf-8")
            partial.replace(self.path)
