"""tailgrad reproduce."""

from typing import Annotated, Any

import typer

from tailgrad.cli.options import JsonOption, MinutesOption, OutOption, ResumeOption, SetOption, overrides_of
from tailgrad.cli.output import err, show_json, show_text
from tailgrad.cli.study import (
    AddressOption,
    DataOption,
    EngineOption,
    JobsOption,
    OnlyOption,
    RecordOption,
    SizeOption,
    names_of,
    show_evidence,
    sources_of,
)


def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The study. Without it, list them.", show_default=False),
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
    as_json: JsonOption = False,
) -> None:
    """Measure again what a paper claims, and say of each claim whether it is confirmed.

    Without a name, lists the studies that come with tailgrad: the question, the
    data that must be given, the sizes. Figures measured so far are in results/.

    Examples:
        tailgrad reproduce
        tailgrad reproduce csba-pv --data pv=photos/ --size cpu
        tailgrad reproduce csba-pv --data photos/ --max-minutes 60 --resume
    """
    if name is None:
        _show_list(as_json)
        return
    from tailgrad.evidence.study import Sitting
    from tailgrad.evidence.study import reproduce as run

    found = run(
        name,
        sources_of(data),
        size=size,
        out=out,
        resume=resume,
        only=names_of(only),
        overrides=overrides_of(assignments),
        sitting=Sitting(jobs, engine, address, max_minutes),
        console=err(),
    )
    show_evidence(found, record, as_json)


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
        for slot, what in entry["needs"].items():
            show_text(f"  needs --data {slot}=SOURCE: {what}")


def _entry(name: str, study: Any) -> dict[str, Any]:
    wanted = {
        slot: study.needs.get(slot, "images with labels") for slot, s in study.data.items() if s is None
    }
    return {
        "name": name,
        "question": study.question,
        "paper": study.paper,
        "needs": wanted,
        "sizes": ["full", *study.sizes],
        "claims": len(study.claims),
    }
