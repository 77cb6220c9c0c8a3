"""tailgrad diagnose."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tailgrad.cli.options import JsonOption, SetOption, overrides_of
from tailgrad.cli.output import err, short, show_json, show_raw, show_table, show_text


def diagnose(
    run_or_source: Annotated[
        str,
        typer.Argument(metavar="RUN|SOURCE", help="Folder of a run, or a source of images (with --model)."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="Network for a source: tripath, resnet32, wrn28_10, timm/<name>."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Weights of that network, a safetensors file. Random ones without it.",
        ),
    ] = None,
    part: Annotated[
        str,
        typer.Option(
            "--part", metavar="PART", help="Images to use: train, val, test, or heldout (val, test)."
        ),
    ] = "heldout",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="Save the result as PATH.npz (arrays) and PATH.json."),
    ] = None,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure which classes pull a network's parameters against one another, and by how much beyond chance.

    A cosine of -1 means that two classes want opposite changes, 0 that they ignore
    each other, +1 that they agree. The null is what softmax and the class prior
    alone would give; only the excess, cosine minus null, says something about
    your network.

    Examples:
        tailgrad diagnose runs/my-run
        tailgrad diagnose runs/my-run --set interference.parameters=head
        tailgrad diagnose digits-lt --model timm/resnet18
    """
    from tailgrad.recipes import diagnose as run

    above = overrides_of(assignments)
    found = run(
        run_or_source, model=model, weights=weights, part=part, overrides=above, out=out, console=err()
    )
    if as_json:
        show_json(found.to_dict())
    else:
        _show(found)
        if out is not None:
            stem = str(out).removesuffix(".npz").removesuffix(".json")
            show_raw(f"saved: {stem}.npz, {stem}.json")


def _show(found: Any) -> None:
    rows = [
        [short(a), short(b), f"{conflict:+.3f}", f"{null:+.3f}", f"{excess:+.3f}"]
        for a, b, conflict, null, excess in found.worst_pairs(6)
    ]
    header = ["class", "class", "cosine", "null", "excess"]
    show_table("Most opposed pairs of classes", header, rows)
    show_text(f"\n{found.summary()}")
