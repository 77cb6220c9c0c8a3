"""tailgrad diagnose."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tailgrad.checks import InputError
from tailgrad.cli.options import JsonOption, QuietOption, SetOption, overrides_of
from tailgrad.cli.output import listener, loading, short, show_json, show_raw, show_table, show_text

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", help="Network for a source: tripath, resnet32, wrn28_10, timm/<name>."
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Weights of that network, a safetensors file. Random ones without it.",
    ),
]
PartOption = Annotated[
    str,
    typer.Option("--part", metavar="PART", help="Images to use: train, val, test, or heldout (val, test)."),
]


def diagnose(
    run_or_source: Annotated[
        str,
        typer.Argument(metavar="RUN|SOURCE", help="Folder of a run, or a source of images (with --model)."),
    ],
    model: ModelOption = None,
    weights: WeightsOption = None,
    part: PartOption = "heldout",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="Save the result as PATH.npz (arrays) and PATH.json."),
    ] = None,
    assignments: SetOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure which classes pull a network's parameters against one another, and by how much beyond chance.

    A cosine of -1 means that two classes want opposite changes, 0 that they ignore
    each other, +1 that they agree. The null is what softmax and the class prior
    alone would give; only the excess, cosine minus null, says something about
    your network. The interval (90 %) is that of the excess without the noise of few
    examples; it is blank where a class has too few to say. For a finished run,
    what its figures speak for is listed at the end.

    Examples:
        tailgrad diagnose runs/my-run
        tailgrad diagnose runs/my-run --set interference.parameters=head
        tailgrad diagnose digits-lt --model timm/resnet18
    """
    with loading(quiet):
        from tailgrad.recipes import diagnose as run
        from tailgrad.recipes.advise_run import advise_run, as_fields

    above = overrides_of(assignments)
    found = run(
        run_or_source,
        model=model,
        weights=weights,
        part=part,
        overrides=above,
        out=out,
        console=listener(quiet),
    )
    is_run = model is None and weights is None and Path(run_or_source, "result.json").is_file()
    advice = advise_run(run_or_source, found) if is_run and part != "train" else []
    if as_json:
        show_json(found.to_dict() | ({"advice": as_fields(advice)} if is_run else {}))
    else:
        _show(found)
        _show_advice(advice)
        if out is not None:
            stem = str(out).removesuffix(".npz").removesuffix(".json")
            show_raw(f"saved: {stem}.npz, {stem}.json")


def _show(found: Any) -> None:
    within = _intervals(found)
    rows = [
        [short(a), short(b), f"{conflict:+.3f}", f"{null:+.3f}", f"{excess:+.3f}", within(a, b)]
        for a, b, conflict, null, excess in found.worst_pairs(6)
    ]
    header = ["class", "class", "cosine", "null", "excess", "90 % without noise"]
    order = "the smallest excess" if _ends(found) is None else "the surest to oppose one another"
    show_table(f"Pairs of classes, {order} first", header, rows)
    show_text(f"\n{found.summary()}")


def _ends(found: Any) -> Any:
    """Ends [2, K, K] of every pair's excess, None without folds or with too many classes to keep a matrix."""
    try:
        return found.excess_interval
    except InputError:
        return None


def _intervals(found: Any) -> Callable[[str, str], str]:
    """The interval of a pair's excess as text, blank where there is none."""
    ends = _ends(found)
    place = {name: k for k, name in enumerate(found.class_names)}

    def interval(first: str, second: str) -> str:
        if ends is None:
            return ""
        low, high = ends[:, place[first], place[second]].tolist()
        return "" if math.isnan(low) else f"[{low:+.3f}, {high:+.3f}]"

    return interval


def _show_advice(advice: Any) -> None:
    from tailgrad.report.advice import words

    if advice:
        show_text(f"\nWhat these figures speak for\n{words(advice)}")
