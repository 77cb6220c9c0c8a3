"""tailgrad diagnose."""

from typing import Annotated, Any

import typer

from tailgrad.cli.options import JsonOption, OutOption, SetOption, overrides_of
from tailgrad.cli.output import err, show_json, show_table, show_text


def diagnose(
    run_or_source: Annotated[
        str, typer.Argument(metavar="RUN|SOURCE", help="Run folder, or a source with --model.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="Backbone for a source: tripath, resnet32, timm/<name>, ...")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="safetensors file for --model; random weights without it.")
    ] = None,
    part: Annotated[
        str, typer.Option("--part", help="train, val, test or heldout (val and test).")
    ] = "heldout",
    out: OutOption = None,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure which classes pull a network's parameters against one another, and by how much beyond chance.

    Examples: tailgrad diagnose runs/my-run; tailgrad diagnose digits-lt --model timm/resnet18
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


def _show(found: Any) -> None:
    rows = [
        [a, b, f"{conflict:+.3f}", f"{null:+.3f}", f"{excess:+.3f}"]
        for a, b, conflict, null, excess in found.worst_pairs(6)
    ]
    header = ["class", "class", "cosine", "null", "excess"]
    show_table(
        "The six most opposed pairs (the null is what softmax and prior alone would give)", header, rows
    )
    show_text(found.summary())
