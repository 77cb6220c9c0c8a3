"""Run and study folders, read into memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tailgrad.checks import InputError
from tailgrad.evaluate import Evaluation, Units, units_of
from tailgrad.evaluate.several_labels import TASK, LabelEvaluation
from tailgrad.interference import Interference
from tailgrad.interference.label_conflict import LabelConflict
from tailgrad.interference.storage import kind_of
from tailgrad.interference.tiles import TiledInterference
from tailgrad.types import ClassInfo
from tailgrad.untrusted import json_text, parse_json, parse_yaml, yaml_text

T = TypeVar("T")
MOMENTS = ("heldout", "early", "train")
Fields = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One finished run.

    Args:
        name: of its folder.
        result: what ``result.json`` holds.
        test: evaluation on the test part.
        val: evaluation on the validation part, or None.
        epochs: one object an epoch, from ``metrics.jsonl`` without the lines of a monitor.
        config: configuration as nested dictionaries.
        environment: versions and hardware.
        split: the manifest, at least its hash.
        interference: measurements by moment (``heldout``, ``early``, ``train``), those that exist.
        records: what a monitor saw while training, each with the epoch it belongs to.
        path: of the folder, or None.
        unreadable: files that are there and cannot be read; they are left out.

    Example: see ``write_report``.
    """

    name: str
    result: Fields
    test: Evaluation
    val: Evaluation | None
    epochs: tuple[Fields, ...]
    config: Fields
    environment: Fields
    split: Fields
    interference: dict[str, Interference]
    records: tuple[tuple[int, Fields], ...] = ()
    path: Path | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.result["method"])

    @property
    def seed_and_split(self) -> tuple[Any, Any]:
        """What pairs it with a run of another method."""
        return self.result["seed"], self.result.get("split_seed")

    @property
    def classes(self) -> ClassInfo:
        """Class names and training counts."""
        found = self.result["classes"]
        return ClassInfo(tuple(found["names"]), tuple(found["counts"]))


@dataclass(frozen=True)
class Study:
    """Finished runs of several methods, and their comparison.

    Args:
        name: of its folder.
        settings: what ``study.yaml`` holds.
        comparison: what ``comparison.json`` holds.
        runs: method -> runs in the order of their seeds, methods in the order of the study.
        unfinished: names of run folders without a result, each with the reason where one is known.
        unreadable: files of the study itself that are there and cannot be read; they are left out.

    Example: see ``write_report``.
    """

    name: str
    settings: Fields
    comparison: Fields
    runs: dict[str, tuple[Run, ...]]
    unfinished: dict[str, str]
    unreadable: tuple[str, ...] = ()

    @property
    def all_runs(self) -> tuple[Run, ...]:
        """Every run, method by method."""
        return tuple(run for runs in self.runs.values() for run in runs)

    @property
    def seeds(self) -> int:
        """Finished runs of the method that has fewest."""
        return min(len(runs) for runs in self.runs.values())

    @property
    def units(self) -> Units:
        """What a pair of runs is, in the method that has fewest."""
        fewest = min(self.runs.values(), key=len)
        return units_of(run.seed_and_split for run in fewest)

    @property
    def first(self) -> Run:
        """The first run of the first method."""
        return self.all_runs[0]

    @property
    def test_train_ratio(self) -> float | None:
        """Test images over training images where splits are drawn anew, else None."""
        splits = {run.result.get("split_seed") for run in self.all_runs}
        if self.settings.get("own_test") or (len(splits) == 1 and None not in splits):
            return None
        return self.first.test.images / max(1, sum(self.first.classes.counts))


def _parsed(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse((yaml_text if path.suffix == ".yaml" else json_text)(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be readable, got {error}; restore it, or repeat the run") from error


def _object(path: Path) -> Fields:
    """A JSON or YAML object, empty where the file is missing."""
    if not path.is_file():
        return {}
    found = _parsed(path, parse_yaml if path.suffix == ".yaml" else parse_json)
    if not isinstance(found, dict):
        raise InputError(
            f"{path} must hold an object, got {type(found).__name__}; restore it, or repeat the run"
        )
    return found


def _readable(path: Path) -> Fields:
    """As ``_object``; empty, too, where the file cannot be read."""
    try:
        return _object(path)
    except InputError:
        return {}


def _lines(path: Path) -> tuple[Fields, ...]:
    if not path.is_file():
        return ()
    # A class name may hold a line separator that splitlines would take for the end of a line.
    return _parsed(path, lambda text: tuple(parse_json(line) for line in text.split("\n") if line.strip()))  # type: ignore[no-any-return]


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Args:
        folder: holds ``result.json``; everything else may be missing, or such that it cannot be read.

    Raises:
        InputError: the run has no result yet, or that cannot be read.

    Example: see ``write_report``.
    """
    result = _object(folder / "result.json")
    if "test" not in result:
        raise InputError(
            f"folder must be a finished run, got {folder} without a result; finish it with --resume"
        )
    rest = _Rest(folder)
    nothing: tuple[Fields, ...] = ()
    lines = rest.read(_lines, "metrics.jsonl", nothing)
    moments = {name: f"interference/{name}" for name in MOMENTS}
    there = {name: at for name, at in moments.items() if (folder / at).with_suffix(".json").is_file()}
    measured = {name: rest.read(_measurement, at, None) for name, at in there.items()}
    return Run(
        folder.name,
        result,
        _evaluation(result["test"]),
        _evaluation(result["val"]) if result.get("val") else None,
        tuple(line for line in lines if "kind" not in line),
        rest.read(_object, "config.yaml", {}),
        rest.read(_object, "environment.json", {}),
        rest.read(_object, "split.json", {}),
        {name: found for name, found in measured.items() if found is not None},
        _records(lines),
        folder,
        tuple(rest.unreadable),
    )


class _Rest:
    """What a report can do without: what cannot be read is noted and left out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable: list[str] = []

    def read(self, read: Callable[[Path], T], name: str, otherwise: T) -> T:
        try:
            return read(self.folder / name)
        except InputError:
            self.unreadable.append(name)
            return otherwise


def _records(lines: Sequence[Fields]) -> tuple[tuple[int, Fields], ...]:
    """A monitor's lines stand before that of the epoch in which they were written."""
    found, epoch = [], 1
    for line in lines:
        if "kind" in line:
            found.append((epoch, line))
        else:
            epoch = int(line.get("epoch", epoch)) + 1
    return tuple(found)


def _evaluation(content: Fields) -> Any:
    """Figures of one class an image, or of several labels."""
    kind = LabelEvaluation if content.get("task") == TASK else Evaluation
    return kind.from_dict(content)


def _measurement(path: Path) -> Any:
    if kind_of(path) == LabelConflict.__name__:
        return LabelConflict.load(path)
    try:
        return Interference.load(path)
    except InputError as error:
        try:  # above 2,000 classes another kind of result is kept
            return TiledInterference.load(path)
        except InputError:
            raise error from None


def _is_finished(path: Path) -> bool:
    """Whether a run went to its end; one that its time stopped has a result too, of fewer epochs."""
    if not (path / "result.json").is_file():
        return False
    result = _readable(path / "result.json")
    return bool(result) and result.get("status", "finished") == "finished"


def read_study(folder: Path, told: Callable[[int, int], None] | None = None) -> Study:
    """Read a study folder; finished runs that its comparison leaves out are left out here.

    Args:
        folder: holds ``study.yaml``, ``comparison.json`` and ``runs/``.
        told: called with (done, total) after every run.

    Raises:
        InputError: no run is finished.

    Example: see ``write_report``.
    """
    places = sorted(path for path in (folder / "runs").iterdir() if path.is_dir())
    rest, nothing = _Rest(folder), Fields()
    comparison = rest.read(_object, "comparison.json", nothing)
    left_out = set(comparison.get("left_out", ()))
    places = [path for path in places if path.name not in left_out]
    finished = [path for path in places if _is_finished(path)]
    if not finished:
        raise InputError(
            f"folder must hold a finished run, got {folder} with none of {len(places)}; add --resume"
        )
    runs = []
    for path in finished:
        runs.append(read_run(path))
        if told:
            told(len(runs), len(finished))
    runs.sort(key=lambda run: run.result["seed"])
    settings = rest.read(_object, "study.yaml", nothing)
    methods = dict.fromkeys([*settings.get("methods", ()), *(run.method for run in runs)])
    by_method = {name: tuple(run for run in runs if run.method == name) for name in methods}
    return Study(
        folder.name,
        settings,
        comparison,
        {name: found for name, found in by_method.items() if found},
        {path.name: _reason(folder, path) for path in places if path not in finished},
        tuple(rest.unreadable),
    )


def _reason(study: Path, run: Path) -> str:
    """Why a run has no result, as far as its folder or its task tells; empty where nobody said."""
    for place in (run / "failure.json", study / "jobs" / run.name / "status.json"):
        text = _readable(place).get("text")
        if text:
            return str(text)
    if not (run / "result.json").is_file():
        return ""
    return "stopped before its end" if _readable(run / "result.json") else "result.json cannot be read"
