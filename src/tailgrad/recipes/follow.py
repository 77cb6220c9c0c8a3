"""Where a run or a study stands, read from its files while others write them.

Every file is whole whenever it is there. One that is missing or cannot be read leaves its part out.
"""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError
from tailgrad.untrusted import json_text, parse_json, parse_yaml, yaml_text

_WORST = 5


@dataclass(frozen=True)
class RunState:
    """A run as its files tell it.

    Args:
        name: of its folder.
        method: as configured.
        state: "running", "finished", "stopped" (its time was used up), "failed", or "unfinished" (nobody
            works on it).
        epoch: finished epochs, and the part of the one in progress.
        epochs: most there will be.
        seconds: of training so far.
        headline: name of the validation figure that chooses the epoch.
        losses: training loss of every finished epoch.
        scores: the headline of every finished epoch.
        worst: (class, recall) of the worst classes on validation images, after the last epoch, or after the
            epoch whose network is kept once the run has ended.
        kept: that epoch, None while the run goes on.
        conflict: what the latest measurement says, in one or two sentences.
        test: macro-F1 on the test part, once there is one.
        quiet: seconds since the run last wrote.

    Example:
        >>> RunState("a", "csba", "running", epoch=5.0, epochs=10, seconds=60.0).left
        60.0
    """

    name: str
    method: str
    state: str
    epoch: float = 0.0
    epochs: int = 0
    seconds: float = 0.0
    headline: str = ""
    losses: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    worst: tuple[tuple[str, float], ...] = ()
    kept: int | None = None
    conflict: str = ""
    test: float | None = None
    quiet: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds that are left at most, at the speed so far; None where nothing can be said."""
        if self.state != "running" or not self.epoch or not self.seconds:
            return None
        return max(0.0, self.seconds * (self.epochs - self.epoch) / self.epoch)


@dataclass(frozen=True)
class StudyState:
    """A study as the files of its runs tell it.

    Args:
        name: of its folder.
        runs: those that were begun, in the order of their names.
        planned: how many there will be; 0 where the study does not say.
        going: whether somebody works on it.

    Example:
        >>> StudyState("s", (RunState("a", "ce", "finished"),), planned=2, going=True).done
        1
    """

    name: str
    runs: tuple[RunState, ...] = field(default_factory=tuple)
    planned: int = 0
    going: bool = False

    @property
    def done(self) -> int:
        """Finished runs."""
        return sum(run.state == "finished" for run in self.runs)


def follow(folder: str | Path) -> RunState | StudyState:
    """Where the run or the study in a folder stands now.

    Raises:
        InputError: the folder is neither.

    Example:
        >>> follow("missing")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: folder must be a run or a study, got missing, which does not exist; ...
    """
    path = Path(folder)
    if not path.exists():
        raise InputError(f"folder must be a run or a study, got {path}, which does not exist; check the path")
    if (path / "config.yaml").is_file():
        return run_state(path)
    groups = [place.parent for place in sorted([*path.glob("runs"), *path.glob("*/runs")])]
    if not groups and not (path / "study.yaml").is_file():
        raise InputError(
            f"folder must be a run or a study, got {path} without config.yaml and without runs/; name the "
            "folder that train, compare, study or reproduce wrote"
        )
    found = [run_state(place) for group in groups for place in sorted((group / "runs").glob("*/"))]
    planned = sum(_planned(group) for group in groups)
    return StudyState(path.name, tuple(found), planned, any(_is_held(place) for place in {path, *groups}))


def run_state(path: Path) -> RunState:
    """Where one run stands.

    Args:
        path: folder of the run.

    Example:
        >>> run_state(Path("missing")).state
        'unfinished'
    """
    config, result = _mapping(path / "config.yaml"), _mapping(path / "result.json")
    train = _part(config, "train")
    rows = [row for row in _rows(path / "metrics.jsonl") if "kind" not in row]
    progress = _mapping(path / "progress.json")
    last: Mapping[str, Any] = rows[-1] if rows else {}
    epochs = int(_number(train.get("epochs")))
    kept = next((row for row in rows if row.get("epoch") == result.get("best_epoch")), None)
    headline = _headline(config, train, last)
    return RunState(
        name=path.name,
        method=str(config.get("method", "")),
        state=_state(path, result),
        epoch=_epoch(rows, progress, epochs),
        epochs=epochs,
        seconds=_number(last.get("seconds")),
        headline=headline,
        losses=_column(rows, "train_loss"),
        scores=_column(rows, f"val_{headline}"),
        worst=_worst(last if kept is None else kept),
        kept=None if kept is None else int(_number(kept.get("epoch"))),
        conflict=_conflict(path / "interference"),
        test=_part(_part(result, "test"), "macro_f1").get("value"),
        quiet=_quiet(path),
    )


def _state(path: Path, result: Mapping[str, Any]) -> str:
    if _is_held(path):
        return "running"
    if result:
        return "stopped" if result.get("status") == "stopped" else "finished"
    if (path / "failure.json").is_file():
        return "failed"
    status = _mapping(path.parent.parent / "jobs" / path.name / "status.json")
    return "failed" if status.get("status") in ("failed", "died") else "unfinished"


def _is_held(path: Path) -> bool:
    """Whether a process says that it writes here, and lives as far as one can see from this machine."""
    holder = _mapping(path / ".lock.json")
    if not holder or holder.get("machine") != platform.node():
        return bool(holder)
    try:
        os.kill(int(holder["process"]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except (OSError, KeyError, TypeError, ValueError):  # it lives and is somebody else's
        return True
    return True


def _headline(config: Mapping[str, Any], train: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    name = str(train.get("monitor", "macro_f1"))
    if isinstance(last.get("chosen_by"), str):
        return str(last["chosen_by"])
    return "focus_f1" if config.get("focus") and name == "macro_f1" else name


def _epoch(rows: list[Mapping[str, Any]], progress: Mapping[str, Any], epochs: int) -> float:
    """Finished epochs; where the file of steps is ahead, with the part of the one in progress."""
    finished = _number(rows[-1].get("epoch")) if rows else 0.0
    steps, step = progress.get("steps"), progress.get("step")
    if not isinstance(steps, int) or not isinstance(step, int) or steps < 1:
        return finished
    return min(max(finished, epochs * step / steps), finished + 1)


def _column(rows: list[Mapping[str, Any]], key: str) -> tuple[float, ...]:
    return tuple(float(row[key]) for row in rows if _is_number(row.get(key)))


def _worst(row: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    recall = {name: value for name, value in _part(row, "val_recall").items() if _is_number(value)}
    if recall:
        return tuple(sorted(recall.items(), key=lambda pair: pair[1])[:_WORST])
    name, f1 = row.get("val_worst_class"), row.get("val_worst_f1")
    return ((f"{name} (F1)", _number(f1)),) if name is not None and _is_number(f1) else ()


def _conflict(folder: Path) -> str:
    """The sentences of the latest measurement that say how much there is and between whom."""
    files = sorted(folder.glob("*.json"), key=_changed) if folder.is_dir() else []
    summary = str(_mapping(files[-1]).get("summary", "")) if files else ""
    return " ".join(summary.splitlines()[1:3])


def _quiet(path: Path) -> float:
    seen = [
        _changed(path / name) for name in ("progress.json", "metrics.jsonl", "result.json", "config.yaml")
    ]
    return max(0.0, time.time() - max(seen)) if max(seen) else 0.0


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _planned(group: Path) -> int:
    study = _mapping(group / "study.yaml")
    try:
        splits = len(study.get("split_seeds") or [None])
        return len(study["methods"]) * int(study["seeds"]) * splits
    except (KeyError, TypeError, ValueError):
        return 0


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        lines = json_text(path).split("\n")
    except (OSError, ValueError):
        return
    for line in filter(None, lines):
        try:
            row = parse_json(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _mapping(path: Path) -> dict[str, Any]:
    """What a file holds; empty where it is not there, not readable or not a mapping."""
    try:
        text = yaml_text(path) if path.suffix == ".yaml" else json_text(path)
        found = parse_yaml(text) if path.suffix == ".yaml" else parse_json(text)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float:
    return float(value) if _is_number(value) else 0.0


def _part(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = content.get(key)
    return found if isinstance(found, dict) else {}
