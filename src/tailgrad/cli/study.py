"""tailgrad study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tailgrad.checks import InputError
from tailgrad.cli import names as known
from tailgrad.cli.compare import show_comparison
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
from tailgrad.cli.output import err, interval, listener, show_json, show_raw, show_table, show_text

DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="SLOT=SOURCE",
        help="What fills a slot of the study. Repeatable; a study with one slot takes the source alone.",
    ),
]
SizeOption = Annotated[
    str, typer.Option("--size", metavar="NAME", help="A smaller edition that the study names, or full.")
]
OnlyOption = Annotated[
    str | None,
    typer.Option("--only", metavar="GROUPS", help="Groups to run, separated by commas. Default: all."),
]
RecordOption = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FOLDER",
        help="Keep figures, verdicts and a chart there, in a form to be committed.",
    ),
]


def study(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="YAML file of a study, or the name of one in the package.",
            autocompletion=known.studies,
        ),
    ],
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
    """Run a study of your own: groups of comparisons, and a verdict on every claim about them.

    A claim is confirmed, not confirmed, or cannot be told with these data. What is
    wrong with the file is said before anything is trained. Ctrl-C and
    --max-minutes keep what is finished; --resume goes on. A group that diverges
    does not stop the others.

    Examples:
        tailgrad study mine.yaml
        tailgrad study mine.yaml --data photos/ --size quick
        tailgrad study mine.yaml --only grouped --max-minutes 60 --resume
    """
    from tailgrad.cli.options import overrides_of
    from tailgrad.evidence.study import Sitting
    from tailgrad.evidence.study import study as run

    found = run(
        file,
        sources_of(data),
        size=size,
        out=out,
        resume=resume,
        only=names_of(only),
        overrides=overrides_of(assignments),
        sitting=Sitting(jobs, engine, address, max_minutes),
        console=listener(quiet),
    )
    show_evidence(found, record, as_json)


def names_of(text: str | None) -> list[str]:
    """Names between commas.

    Example:
        >>> names_of("a, b"), names_of(None)
        (['a', 'b'], [])
    """
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def sources_of(given: list[str] | None) -> Mapping[str, str] | str | None:
    """What ``--data`` says: a source for each slot, or one source alone.

    Raises:
        InputError: several sources of which one has no slot, or one slot twice.

    Example:
        >>> sources_of(["pv=photos/"]), sources_of(["photos/"])
        ({'pv': 'photos/'}, 'photos/')
    """
    if not given:
        return None
    if len(given) == 1 and ("=" not in given[0] or Path(given[0]).exists()):
        return given[0]
    found: dict[str, str] = {}
    for one in given:
        slot, equals, source = one.partition("=")
        if not equals or not source or slot in found:
            raise InputError(
                f"--data must be SLOT=SOURCE, each slot once, got {one!r}; write --data pv=photos/"
            )
        found[slot] = source
    return found


def show_evidence(evidence: Any, record: Path | None, as_json: bool) -> None:
    """Print claims with verdicts and a table a group, and keep them where that is asked for.

    Example: see ``tailgrad study --help``.
    """
    if as_json:
        show_json({"folder": str(evidence.folder), **evidence.content})
    else:
        _show(evidence)
    if record is not None:
        from tailgrad.evidence.publish import publish

        err().print(f"recorded: {publish(evidence, record)}", markup=False, highlight=False)


def _show(evidence: Any) -> None:
    from tailgrad.recipes.table import dropped_note

    content = evidence.content
    if content["claims"]:
        rows = [_claim(claim) for claim in content["claims"]]
        header = ["verdict", "claim", "claimed", "measured", "p", "printed"]
        show_table("Claims, 95 % intervals, p after Holm", header, rows)
        if content["size"] == "smoke":
            show_text("A smoke edition shows that everything works; its verdicts mean nothing.")
    for name, group in content["groups"].items():
        show_raw("")
        show_comparison(group["comparison"], f"{name}: ")
        if note := dropped_note(group["comparison"]):
            show_text(note)
    for table in content["tables"]:
        show_raw("")
        show_table(table["title"], table["header"], table["rows"])
    if content["missing"]:
        show_text(f"\nNot run yet: {', '.join(content['missing'])}.")
    show_raw(f"\nevidence: {evidence.folder / 'evidence.json'}")


def _claim(claim: Mapping[str, Any]) -> list[str]:
    found, printed = claim["found"], claim.get("printed")
    measured = "not yet" if found is None else interval(found, ".3g")
    p, shown = claim["p_holm"], "" if printed is None else f"{printed:.4g}"
    return [
        claim["verdict"],
        claim["text"],
        _claimed(claim),
        measured,
        "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
        shown,
    ]


def _claimed(claim: Mapping[str, Any]) -> str:
    if "near" in claim:
        return f"{claim['near']:.4g} within {claim['within']:.4g}"
    side = "above" if "above" in claim else "below"
    return f"{side} {claim[side]:.4g}"
