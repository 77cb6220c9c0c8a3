"""tailgrad reproduce."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tailgrad.cli import names as known
from tailgrad.cli.options import (
    AddressOption,
    EngineOption,
    JobsOption,
    JsonOption,
    MinutesOption,
    OutOption,
    QuietOption,
    ResumeOption,
    SetOption,
)
from tailgrad.cli.output import show_json, show_text
from tailgrad.cli.study import DataOption, OnlyOption, RecordOption, SizeOption, study


def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="The study. Without it, list them.",
            show_default=False,
            autocompletion=known.studies,
        ),
    ] = None,
    data: DataOption = None,
    size: SizeOption = "full",
    only: OnlyOption = None,
    out: OutOption = None,
    resume: ResumeOption = False,
    jobs: JobsOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    max_minutes: MinutesOption = None,
    record: RecordOption = None,
    assignments: SetOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure again what a paper claims, and say of each claim whether it is confirmed.

    Without a name, lists the studies that come with tailgrad: the question, the
    runs of every size, the data that must be given. Figures measured so far are in results/.

    Examples:
        tailgrad reproduce
        tailgrad reproduce csba-pv --data pv=photos/ --size cpu
        tailgrad reproduce csba-pv --data photos/ --max-minutes 60 --resume
    """
    if name is None:
        _show_list(as_json)
        return
    from tailgrad.evidence.study import known_study

    study(
        known_study(name),
        data,
        size,
        only,
        out,
        resume,
        jobs,
        engine,
        address,
        max_minutes,
        record,
        assignments,
        quiet,
        as_json,
    )


def _show_list(as_json: bool) -> None:
    from tailgrad.evidence.study_file import read_study, studies

    entries = [_entry(name, read_study(name)) for name in studies()]
    if as_json:
        show_json({"studies": entries})
        return
    for entry in entries:
        counted = f"{entry['claims']} claim{'' if entry['claims'] == 1 else 's'}"
        show_text(f"{entry['name']} ({counted}; sizes {', '.join(entry['sizes'])})")
        show_text(f"  {entry['question']}")
        show_text(f"  {'; '.join(_work(size, work) for size, work in entry['work'].items())}")
        for slot, what in entry["needs"].items():
            show_text(f"  needs --data {slot}=SOURCE: {what}")


def _runs(plan: Any) -> dict[str, int]:
    groups = plan.expanded().values()
    return {"runs": sum(group.runs for group in groups), "groups": len(groups)}


def _work(size: str, work: Mapping[str, int]) -> str:
    """What a size trains, in words; what an analysis trains by itself cannot be read from the file."""
    if not work["runs"]:
        return f"{size}: its analysis alone"
    runs, groups = (
        f"{n} {what}{'' if n == 1 else 's'}" for what, n in (("run", work["runs"]), ("group", work["groups"]))
    )
    return f"{size}: {runs} in {groups}"


def _entry(name: str, plan: Any) -> dict[str, Any]:
    wanted = {slot: plan.needs.get(slot, "images with labels") for slot, s in plan.data.items() if s is None}
    return {
        "name": name,
        "question": plan.question,
        "paper": plan.paper,
        "needs": wanted,
        "sizes": ["full", *plan.sizes],
        "work": {size: _runs(plan.at(size)) for size in ("full", *plan.sizes)},
        "claims": len(plan.claims),
    }
