"""What an analysis works with, and what it gives back."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError, nearest
from tailgrad.engine import Interrupted
from tailgrad.evidence.cell_progress import CellProgress
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.group_runs import group_runs
from tailgrad.evidence.splits_used import gathered
from tailgrad.files import write_json
from tailgrad.recipes.run_folder import RunFolder, read_json
from tailgrad.recipes.talk import Talk


@dataclass(frozen=True)
class Table:
    """A table of an analysis, for the page of results.

    Args:
        title: what it shows.
        header: one word or two a column.
        rows: cells as they are to be shown.
        note: what the reader must know.

    Example:
        >>> Table("Recall", ("class", "recall"), (("cat", "0.50"),)).to_dict()["rows"]
        [['cat', '0.50']]
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        rows = [list(row) for row in self.rows]
        return {"title": self.title, "header": list(self.header), "rows": rows, "note": self.note}


@dataclass(frozen=True)
class Analysis:
    """What an analysis found.

    Args:
        figures: by name, for claims to refer to.
        tables: to be shown.
        seeds: that it used itself, beside those of the groups.
        splits: SHA-256 of the splits that it drew itself.

    Example:
        >>> Analysis({"gain": Figure.over([0.1, 0.2])}).tables
        ()
    """

    figures: Mapping[str, Figure]
    tables: Sequence[Table] = ()
    seeds: Sequence[int] = ()
    splits: Sequence[str] = ()


@dataclass(frozen=True)
class Lab:
    """The place where an analysis works: data, finished runs, settings, and cells that are computed once.

    Args:
        folder: for its files.
        data: the source of every slot.
        groups: folder of every finished group of runs.
        settings: of the study file.
        say: told what happens.
        until: ``time.monotonic()`` at which nothing new is begun; None for no limit.

    Example:
        >>> import tempfile
        >>> lab = Lab(Path(tempfile.mkdtemp()), {"digits": "digits-lt"}, {}, {"steps": 3})
        >>> lab.cell("one", lambda: {"x": 1.0}), lab.cell("one", lambda: {"x": 2.0})
        ({'x': 1.0}, {'x': 1.0})
    """

    folder: Path
    data: Mapping[str, str]
    groups: Mapping[str, Path] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    say: Talk = field(default_factory=lambda: Talk(None))
    until: float | None = None
    progress: CellProgress = field(init=False, repr=False, compare=False)
    splits: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    """SHA-256 of what cells trained and tested on, as far as they said."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "progress", CellProgress(self.folder.parent.name, self.say))

    def expect(self, cells: int) -> None:
        """Say how many cells with different names will be asked for, so that the time left can be told."""
        self.progress.expected = cells

    def cell(self, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What ``make`` gives, computed once and kept in a file.

        This is what makes an analysis resumable: put everything that takes more than a second into cells.

        Args:
            name: of letters, digits, ``.``, ``_`` and ``-``; it must say all that the content depends on
                beside ``settings`` and ``data``.
            make: gives a mapping that JSON can hold.

        Raises:
            InputError: the kept cell was made with other settings, or the name leads to another folder.
            Interrupted: the time is used up; cells that are finished are kept.
        """
        if Path(name).name != name or "\0" in name:
            raise InputError(
                f"a cell must have a name that can name a file, got {name!r}; mend the settings it is made of"
            )
        path = self.folder / "cells" / f"{name}.json"
        made_with = json.loads(json.dumps({"settings": dict(self.settings), "data": dict(self.data)}))
        if path.exists():
            kept = read_json(path, "remove it, and it is computed again")
            if kept.get("made_with") != made_with:
                raise InputError(
                    f"{path} must be made with the present settings, got {kept.get('made_with')}, wanted "
                    f"{made_with}; use another --out"
                )
            self.progress.passed(name)
            self.splits.update(kept.get("split_sha256", ()))  # cells from before have none
            return dict(kept["content"])
        if self.until is not None and time.monotonic() >= self.until:
            raise Interrupted(f"the time was used up in {self.folder}; what is finished is kept")
        self.progress.begin(name)
        with gathered() as splits:
            content = dict(make())
        self.progress.end(name)
        self.splits.update(splits)
        write_json(path, {"made_with": made_with, "split_sha256": sorted(splits), "content": content})
        return dict(read_json(path)["content"])

    @property
    def seeds(self) -> range:
        """``settings.seeds`` of them from ``settings.first_seed`` on, 0 by default.

        A study that was changed after a look at some seeds leaves those out of its result.
        """
        first = int(self.settings.get("first_seed", 0))
        return range(first, first + int(self.settings["seeds"]))

    def runs(self, group: str) -> dict[str, list[RunFolder]]:
        """The finished runs of a group by method, in the order of splits and seeds.

        Raises:
            InputError: there is no such group.
        """
        if group not in self.groups:
            raise InputError(
                f"group must be a finished one of the study, got {group!r}; {nearest(group, self.groups)}"
            )
        found: dict[str, list[RunFolder]] = {}
        finished = group_runs(self.groups[group])
        for folder, result in sorted(finished, key=lambda pair: (pair[1]["split_seed"], pair[1]["seed"])):
            found.setdefault(str(result["method"]), []).append(folder)
        return found
