"""A progress line for people: loss, macro-F1, worst class, time left."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from tailgrad.engine.observers import Row
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
