"""What watches a run: metrics as JSON lines."""

import json
from pathlib import Path
from typing import Any, Protocol

from tailgrad.checks import InputError
from tailgrad.files import finite, write_text
from tailgrad.types import StepRecord
from tailgrad.untrusted import json_text, parse_json

Row = dict[str, Any]


class Observer(Protocol):
    """Something told of every step and every epoch; it must not change the learner.

    Example:
        >>> issubclass(MetricsLog, object)
        True
    """

    def on_step(self, record: StepRecord) -> None:
        """Told after a step's loss has been looked at."""

    def on_epoch(self, row: Row) -> None:
        """Told after an epoch, with its metrics by name."""


class MetricsLog:
    r"""One JSON object a line and epoch, in ``metrics.jsonl``, and one for each record of a monitor.

    Records hold ``"kind": "interference"`` and come before the line of their epoch, which has no ``kind``.

    Args:
        path: the file.
        epoch: last epoch to keep of what the file already holds: later lines are of a run that was
            killed before its checkpoint, and that epoch will be run again.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> log = MetricsLog(Path(tempfile.mkdtemp()) / "metrics.jsonl")
        >>> log.on_epoch({"epoch": 1, "train_loss": 0.5})
        >>> log.path.read_text()
        '{"epoch": 1, "train_loss": 0.5}\n'
    """

    def __init__(self, path: Path, epoch: int = 0) -> None:
        self.path = path
        self._records: list[Row] = []
        # Not splitlines: a class name may hold a character that it takes for the end of a line.
        lines = _text(path).split("\n") if path.exists() else []
        self._kept = "".join(f"{line}\n" for line in lines if _epoch_of(line) <= epoch)
        write_text(path, self._kept)

    def on_step(self, record: StepRecord) -> None:
        """Steps are not logged here."""

    def on_record(self, record: Row) -> None:
        """Keep a record of the monitor for the end of its epoch: a killed epoch leaves none behind."""
        self._records.append(record)

    def state(self) -> list[Row]:
        """Records of the epoch in progress, which are not in the file yet."""
        return self._records

    def load_state(self, state: list[Row]) -> None:
        """Go on with the records of an unfinished epoch."""
        self._records = list(state)

    def on_epoch(self, row: Row) -> None:
        """Append one line, after one for each record of the epoch; the file is always whole."""
        lines = [*({"epoch": row["epoch"], **record} for record in self._records), row]
        self._records.clear()
        self._kept += "".join(json.dumps(finite(line), ensure_ascii=False) + "\n" for line in lines)
        write_text(self.path, self._kept)


def _text(path: Path) -> str:
    try:
        return json_text(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} must be readable, got {error}; restore it, or begin the run anew"
        ) from error


def _epoch_of(line: str) -> float:
    try:
        return int(parse_json(line)["epoch"])
    except (ArithmeticError, ValueError, LookupError, TypeError):
        return float("inf")
