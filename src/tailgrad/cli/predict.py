"""tailgrad predict."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailgrad.checks import InputError
from tailgrad.cli.options import JsonOption, QuietOption, TargetPriorOption
from tailgrad.cli.output import (
    err,
    listener,
    loading,
    printable,
    short,
    show_json,
    show_raw,
    show_table,
)

if TYPE_CHECKING:
    from tailgrad.ship import Prediction


def predict(
    run: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Folder of a finished run, file of export --onnx, or pretrained folder."
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES",
            help="Image files, folders of them, or CSV lists with a column path; by a model of a table "
            "CSV or parquet files.",
        ),
    ],
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the predictions there.")
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", metavar="K", help="Classes named for each image or row.")
    ] = 1,
    abstain: Annotated[
        float | None,
        typer.Option("--abstain", metavar="P", help="Abstain where the probability is below P."),
    ] = None,
    target_prior: TargetPriorOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Classify images, or rows of tables, with a trained run or what was exported of one.

    An image that cannot be read is named, and the others are classified. Where
    the run was trained with --focus, the tuned threshold of that class decides.

    Examples:
        tailgrad predict runs/my-run new/*.jpg
        tailgrad predict runs/my-run new/ --json
        tailgrad predict model.onnx new/ --csv out.csv --top-k 3 --abstain 0.6
        tailgrad predict table.onnx new.csv --csv out.csv
    """
    if csv is not None:
        _check_apart(csv, images)
    with loading(quiet):
        from tailgrad.ship import predict as classify

    found = classify(
        run, images, top_k=top_k, abstain=abstain, target_prior=target_prior, console=listener(quiet)
    )
    if csv is not None:
        from tailgrad.ship import write_predictions

        write_predictions(csv, found)
    if as_json:
        show_json({"predictions": [asdict(row) for row in found]})
        return
    if csv is None:
        _show([row for row in found if not row.error], top_k)
    for row in found:
        if row.error:
            said = printable(f"unreadable: {row.file} ({row.error})")
            err().print(said, markup=False, highlight=False)
    if csv is not None:
        show_raw(f"predictions: {csv}")


def _check_apart(csv: Path, images: list[str]) -> None:
    """Raises: InputError: the predictions would replace what they are made of."""
    for given in map(Path, images):
        if csv.exists() and given.exists() and given.samefile(csv):
            raise InputError(f"--csv must be another file than what is classified, got {csv}; choose another")


def _show(found: "Sequence[Prediction]", top_k: int) -> None:
    """One line an image; further columns only where they are asked for.

    Of several labels, the probability is that of the likeliest, whether or not it reaches its threshold.
    """
    abstained = any(p.abstained for p in found)
    several = any(p.labels is not None for p in found)
    header = ["file", *(("labels", "highest") if several else ("class", "probability"))]
    header += (["also"] if top_k > 1 else []) + (["abstained"] if abstained else [])
    rows = []
    for p in found:
        named = (p.name,) if p.labels is None else p.labels
        also = [f"{short(name)} {share:.3f}" for name, share in p.top if name not in named]
        cells = [p.file, ", ".join(map(short, named)) or "none", f"{p.probability:.3f}", ", ".join(also)]
        rows.append([*cells[: 4 if top_k > 1 else 3], *(["yes" if p.abstained else ""] if abstained else [])])
    if rows:
        show_table("", header, rows)
