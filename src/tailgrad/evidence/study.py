"""Run a study: its groups of runs, its analysis, and a verdict on every claim."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError, nearest
from tailgrad.engine import Diverged, Interrupted
from tailgrad.evidence.changed_claims import changed_claims
from tailgrad.evidence.check_plan import GroupCheck, check_analysis, check_claims
from tailgrad.evidence.claim import Claim, judge
from tailgrad.evidence.figures import Figure, difference
from tailgrad.evidence.lab import Analysis, Lab
from tailgrad.evidence.provenance import provenance
from tailgrad.evidence.record import claim_record, group_record, seeds_of
from tailgrad.evidence.same_speed import share_speed
from tailgrad.evidence.study_file import Group, StudyFile, read_study, studies
from tailgrad.files import write_json
from tailgrad.recipes.compare import compare
from tailgrad.recipes.compose import merge
from tailgrad.recipes.config import Config
from tailgrad.recipes.run_folder import read_json
from tailgrad.recipes.talk import Listener, Talk


@dataclass(frozen=True)
class Sitting:
    """How a study is worked on, which changes none of its figures.

    Args:
        jobs: runs at once, or "auto"; None is 1, on a cluster "auto".
        engine: "local" or "ray".
        address: of the Ray cluster.
        max_minutes: begin nothing new after this time.

    Example:
        >>> Sitting(jobs=2).engine
        'local'
    """

    jobs: int | str | None = None
    engine: str = "local"
    address: str | None = None
    max_minutes: float | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def until(self) -> float | None:
        """``time.monotonic()`` at which the time is used up."""
        return None if self.max_minutes is None else self.began + 60 * self.max_minutes

    def minutes_left(self) -> float | None:
        """What is left; None without a limit.

        Raises:
            Interrupted: nothing is left.
        """
        if self.until is None:
            return None
        left = (self.until - time.monotonic()) / 60
        if left <= 0:
            raise Interrupted("the time was used up; what is finished is kept")
        return left


@dataclass(frozen=True)
class Evidence:
    """What a study found.

    Args:
        folder: of the study.
        content: of its ``evidence.json``: claims with verdicts, groups, figures, tables, provenance.

    Example: see ``study``.
    """

    folder: Path
    content: dict[str, Any]

    @property
    def verdicts(self) -> dict[str, str]:
        """``confirmed``, ``not confirmed`` or ``cannot be told`` of every claim."""
        return {claim["id"]: claim["verdict"] for claim in self.content["claims"]}


def reproduce(name: str, data: Mapping[str, str] | str | None = None, **options: Any) -> Evidence:
    """Run a study that comes with the package; see ``study`` for all else.

    Args:
        name: one of ``studies()``.
        data: as for ``study``.
        options: as for ``study``.

    Raises:
        InputError: there is no such study, and whatever ``study`` raises.

    Example:
        >>> reproduce("csba")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: name must be a known study, got 'csba'; ...
    """
    return study(known_study(name), data, **options)


def known_study(name: str) -> str:
    """The name, if a study that comes with the package is called so.

    Raises:
        InputError: none is.

    Example:
        >>> known_study("remedy")
        'remedy'
    """
    if name not in studies():
        raise InputError(f"name must be a known study, got {name!r}; {nearest(name, studies())}")
    return name


def study(
    file: str | Path | StudyFile,
    data: Mapping[str, str] | str | None = None,
    *,
    size: str = "full",
    out: str | Path | None = None,
    resume: bool = False,
    only: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    sitting: Sitting | None = None,
    console: Listener = "stderr",
) -> Evidence:
    """Run what is missing of a study and judge its claims.

    Args:
        file: a YAML file, a study's name, or a ``StudyFile``.
        data: the source of every slot, or one source for a study with one slot.
        size: one of the study's sizes.
        out: folder; default ``studies/<name>.<size>``.
        resume: go on with that folder.
        only: groups to run; the others are judged if they are there.
        overrides: keys of the regime, laid over every group.
        sitting: how many runs at once, where, for how long.
        console: where to say what happens: a console, "stderr", or None for silence.

    Returns:
        The evidence, also in ``evidence.json`` of the folder.

    Raises:
        InputError: the file, a slot, a group or a run is wrong.
        Diverged: runs of a group diverged; the other groups were worked on all the same.
        Interrupted: the time was used up, or the user pressed Ctrl-C; the study can be resumed.

    Example:
        >>> import tempfile
        >>> quick = {"train": {"epochs": 1, "precision": "float32", "channels_last": False},
        ...          "interference": {"enabled": False}, "data": {"size": 48, "near_duplicates": False}}
        >>> claim = Claim(id="gain", text="CSBA is better", source="ours", group="digits",
        ...               method="csba", against="baseline", above=0)
        >>> mine = StudyFile(name="mine", data={"digits": "digits-lt"}, methods=("baseline", "csba"),
        ...                  seeds=1, set=quick, claims=(claim,))
        >>> study(mine, out=tempfile.mkdtemp() + "/study").verdicts
        {'gain': 'cannot be told'}
    """
    whole = file if isinstance(file, StudyFile) else read_study(file)
    check_claims(whole)
    plan = whole.at(size)
    groups = plan.expanded()
    wanted = {name: groups[name] for name in _wanted(groups, only, plan)}
    slots = [group.data for group in wanted.values()]
    if plan.analysis and not only:  # slots of no group are for the analysis
        of_groups = {group.data for group in whole.expanded().values()}
        slots += [slot for slot in plan.data if slot not in of_groups]
    sources = _filled(plan, data, slots)
    folder = Path(out) if out is not None else Path("studies") / f"{plan.name}.{size}"
    _refuse_taken(folder, resume)
    configs = _checked(plan, wanted, sources, overrides or {})
    left_out = {g.data for g in whole.expanded().values()} - {g.data for g in groups.values()}
    talk, work = Talk(console), sitting or Sitting()
    desk = _Desk(plan, size, folder, sources, talk, work, overrides or {}, left_out, configs)
    return desk.run(wanted, groups)


def _checked(
    plan: StudyFile, wanted: Mapping[str, Group], sources: Mapping[str, str], above: Mapping[str, Any]
) -> dict[str, Config]:
    """The configuration of every group's first method; fails now on what would fail after hours."""
    if plan.analysis is not None:
        check_analysis(plan.analysis)
    check = GroupCheck(plan, sources, above)
    return {name: check(name, group) for name, group in wanted.items()}


def _wanted(groups: Mapping[str, Group], only: Sequence[str], plan: StudyFile) -> list[str]:
    for name in only:
        if name not in groups:
            raise InputError(
                f"only must name groups of study {plan.name!r}, got {name!r}; {nearest(name, groups)}"
            )
    return list(only) or list(groups)


def _filled(plan: StudyFile, data: Mapping[str, str] | str | None, used: Sequence[str]) -> dict[str, str]:
    given = _by_slot(plan, data)
    found = {slot: given.get(slot, source) for slot, source in plan.data.items()}
    for slot in used:
        if slot in plan.data and found[slot] is None:
            what = plan.needs.get(slot, "images with labels")
            raise InputError(
                f"data must give a source for {slot!r} ({what}) of study {plan.name!r}, got none; add --data "
                f"{slot}=SOURCE, or leave its groups out with --only"
            )
    return {slot: source for slot, source in found.items() if source is not None}


def _by_slot(plan: StudyFile, data: Mapping[str, str] | str | None) -> dict[str, str]:
    if data is None:
        return {}
    if isinstance(data, str):
        if len(plan.data) != 1:
            raise InputError(
                f"data must say which of {', '.join(plan.data)} of study {plan.name!r} it is, got {data!r}; "
                f"write --data {next(iter(plan.data))}={data}"
            )
        return {next(iter(plan.data)): data}
    for slot in data:
        if slot not in plan.data:
            raise InputError(
                f"data must name slots of study {plan.name!r}, got {slot!r}; {nearest(slot, plan.data)}"
            )
    return dict(data)


def _refuse_taken(folder: Path, resume: bool) -> None:
    taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken and not resume:
        raise InputError(
            f"study folder must be new, got {folder}, which exists; choose another with --out, or "
            "add --resume"
        )


@dataclass
class _Desk:
    """One sitting at one study."""

    plan: StudyFile
    size: str
    folder: Path
    sources: Mapping[str, str]
    talk: Talk
    work: Sitting
    above: Mapping[str, Any]
    left_out: Collection[str]
    """slots of groups that this size leaves out"""
    configs: Mapping[str, Config]
    """of every wanted group's first method"""
    failed: dict[str, str] = field(default_factory=dict)
    analysis: Analysis | None = None

    def run(self, wanted: Mapping[str, Group], groups: Mapping[str, Group]) -> Evidence:
        try:
            for name, group in wanted.items():
                self._group(name, group)
            if self.plan.analysis is not None:
                self.analysis = self._analysed(self._finished(groups), groups)
        except Interrupted:
            if self._finished(groups):
                self._write(groups)
            raise
        evidence = self._write(groups)
        if self.failed:
            told = "; ".join(f"{name}: {why}" for name, why in self.failed.items())
            raise Diverged(f"{len(self.failed)} of {len(groups)} groups of {self.folder} failed: {told}")
        return evidence

    def _group(self, name: str, group: Group) -> None:
        self.talk(f"{self.plan.name}, group {name}")
        limit = {} if self.work.until is None else {"train": {"max_minutes": self.work.minutes_left()}}
        out = self.folder / name
        share_speed(self.folder, name, self.configs[name], self.plan.expanded())
        try:
            compare(
                self.sources.get(group.data, group.data),
                group.overlays(),
                seeds=group.seeds,
                split_seeds=group.split_seeds,
                regime=group.regime,
                overrides=merge(group.overrides(), self.above, limit),
                out=out,
                resume=out.exists(),
                console=self.talk.console,
                jobs=self.work.jobs,
                engine=self.work.engine,
                address=self.work.address,
            )
        except Diverged as error:
            self.failed[name] = str(error)
            self.talk(f"group {name} failed: {error}")

    def _finished(self, groups: Mapping[str, Group]) -> dict[str, Path]:
        places = {name: self.folder / name for name in groups}
        return {name: place for name, place in places.items() if (place / "comparison.json").exists()}

    def _analysed(self, finished: Mapping[str, Path], groups: Mapping[str, Group]) -> Analysis | None:
        """What the analysis finds, as soon as all that it needs is there."""
        missing = [f"group {name}" for name in groups if name not in finished]
        slots = [slot for slot in self.plan.data if slot not in (*self.sources, *self.left_out)]
        missing += [f"--data {slot}=SOURCE" for slot in slots]
        if missing:
            self.talk(f"analysis {self.plan.analysis} waits for {', '.join(missing)}")
            return None
        lab = Lab(
            self.folder / "analysis",
            self.sources,
            finished,
            self.plan.settings,
            self.talk,
            self.work.until,
        )
        name = f"tailgrad.evidence.analyses.{self.plan.analysis}"
        found: Analysis = import_module(name).analyse(lab)
        return replace(found, splits=sorted(lab.splits))

    def _figures(self, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
        """The figure of every claim that has one."""
        found: dict[str, Figure | None] = {}
        for claim in self.plan.claims:
            if claim.group in records:
                found[claim.id] = _of_groups(claim, records)
            elif claim.figure is not None and self.analysis is not None:
                found[claim.id] = _named(claim, self.analysis, whole=self.size == "full")
        return {name: figure for name, figure in found.items() if figure is not None}

    def _write(self, groups: Mapping[str, Group]) -> Evidence:
        records = {name: group_record(place) for name, place in self._finished(groups).items()}
        figures = self._figures(records)
        verdicts = judge(self.plan.claims, figures)
        analysis = self.analysis or Analysis({})
        file = self.folder / "evidence.json"
        changed = changed_claims(read_json(file) if file.is_file() else {}, self.plan.claims)
        if changed:
            self.talk(f"warning: claims changed or dropped after they had a figure: {', '.join(changed)}")
        content = {
            "study": self.plan.name,
            "size": self.size,
            "question": self.plan.question,
            "paper": self.plan.paper,
            "notes": self.plan.notes,
            "finished": sorted(records),
            "missing": sorted(set(groups) - set(records)),
            "failed": {name: why.replace(f"{self.folder}/", "") for name, why in self.failed.items()},
            "claims": [claim_record(c, verdicts[c.id], figures.get(c.id)) for c in self.plan.claims],
            "changed_claims": changed,
            "figures": {name: figure.to_dict() for name, figure in analysis.figures.items()},
            "tables": [table.to_dict() for table in analysis.tables],
            "settings": dict(self.plan.settings),
            "groups": records,
            "seeds": seeds_of(records, analysis.seeds),
            "split_sha256": list(analysis.splits),
            **provenance(),
        }
        return Evidence(self.folder, read_json(write_json(file, content)))


def _named(claim: Claim, analysis: Analysis, *, whole: bool) -> Figure | None:
    """A figure of the analysis; None where it may be about what this size of the study leaves out."""
    name = str(claim.figure)
    if name not in analysis.figures and not whole:
        return None
    if name not in analysis.figures:
        raise InputError(
            f"figure of claim {claim.id!r} must be one of the analysis, got {name!r}; "
            f"{nearest(name, analysis.figures)}"
        )
    return analysis.figures[name]


def _of_groups(claim: Claim, records: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """The figure of a claim; None where this size of the study leaves out a method or a group of it."""
    record = records[str(claim.group)]
    runs = _runs(record, str(claim.method))
    against = _runs(records.get(claim.against_group or str(claim.group), {}), claim.against)
    if not runs or (claim.against is not None and not against):
        return None
    own_test = bool(record["study"]["own_test"]) or len(record["split_sha256"]) == 1
    return difference(runs, against or None, claim.metric, own_test=own_test)


def _runs(record: Mapping[str, Any], method: str | None) -> list[Any]:
    return [run for run in record.get("runs", ()) if run["method"] == method]
