"""tailgrad export."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tailgrad.checks import InputError
from tailgrad.cli.options import JsonOption, QuietOption, TargetPriorOption
from tailgrad.cli.output import err, interval, loading, printable, short, show_json, show_raw, show_table

_RECALLS = {"before": "recall float32", "after": "recall int8"}
_PRECISIONS = {"precision_before": "precision float32", "precision_after": "precision int8"}
AbstainOption = Annotated[
    float | None,
    typer.Option("--abstain", metavar="P", help="Least probability of a decision, stored for predict."),
]


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write one ONNX file, checked against PyTorch.")
    ] = False,
    pretrained: Annotated[
        Path | None,
        typer.Option(
            "--pretrained", metavar="FOLDER", help="Write the Hugging Face layout with a model card."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File of --onnx; by default RUN/model.onnx."),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Quantise, and measure on the test part what that costs each class."),
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Fit a temperature on the validation part where the run has none."),
    ] = False,
    target_prior: TargetPriorOption = None,
    abstain: AbstainOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ship a run: one ONNX file, or a folder in the Hugging Face layout.

    The ONNX file holds weights, preprocessing (of a table the encoding of its
    columns), class names, temperature, prior, thresholds and the ledger. ONNX
    Runtime must give what PyTorch gives to 1e-4. It takes the extra named onnx.

    Examples:
        tailgrad export runs/my-run --onnx
        tailgrad export runs/my-run --onnx --int8 --out small.onnx
        tailgrad export runs/my-run --onnx --target-prior broken=0.02,fine=0.98
        tailgrad export runs/my-run --pretrained my-model
    """
    for_onnx: dict[str, object] = {
        "--out": out,
        "--target-prior": target_prior,
        "--abstain": abstain,
        "--int8": int8 or None,
        "--calibrate": calibrate or None,
    }
    _check_wish(onnx, pretrained, for_onnx)
    made: dict[str, Any] = {}
    with loading(quiet):
        import tailgrad.ship as ship
        from tailgrad.ship.pretrained import check_new
    if pretrained is not None:
        check_new(pretrained)
    if onnx:  # first: more can stand against it, and then no folder is left behind
        wish = {"int8": int8, "calibrate": calibrate, "target_prior": target_prior, "abstain": abstain}
        made |= _exported(run, out, quiet, wish)
    if pretrained is not None:
        made["folder"] = str(ship.save_pretrained(run, pretrained))
    (show_json if as_json else _show)(made)


def _exported(run: str, out: Path | None, quiet: bool, wish: dict[str, Any]) -> dict[str, Any]:
    from tailgrad.recipes.waiting import silent
    from tailgrad.ship import export

    say = silent if quiet else _say
    found = export(run, out, say=say, **wish)
    about = found.description.model_dump(mode="json")
    return {"file": str(found.file), "bytes": found.bytes, "description": about}


def _check_wish(onnx: bool, pretrained: Path | None, for_onnx: dict[str, object]) -> None:
    if not onnx and pretrained is None:
        raise InputError("export must be told what to write, got neither; give --onnx or --pretrained FOLDER")
    for name, value in for_onnx.items():
        if value is not None and not onnx:
            raise InputError(f"{name} is for --onnx, got {value} without it; add --onnx, or leave it out")


def _say(text: str) -> None:
    err().print(printable(text), markup=False, highlight=False)


def _show(made: dict[str, Any]) -> None:
    about = made.get("description")
    if about is not None and about["int8"]:
        cost = about["int8"]
        keys = _RECALLS | (_PRECISIONS if about["thresholds"] else {})
        rows = [
            [
                short(row["name"]),
                str(row["support"]),
                *(interval(row[key]) for key in keys),
                str(row["changed"]),
            ]
            for row in cost["classes"]
        ]
        header = ["label" if about["thresholds"] else "class", "test", *keys.values(), "changed"]
        show_table("What int8 costs each class", header, rows)
        show_raw(
            f"{cost['changed']} of {cost['images']} predictions change; right in float32 alone "
            f"{cost['only_before']}, in int8 alone {cost['only_after']} (exact McNemar p = {cost['p']:.3g})"
        )
    if about is not None:
        show_raw(f"model: {made['file']} ({made['bytes'] / 1e6:.2f} MB, {about['precision']})")
    if "folder" in made:
        show_raw(f"folder: {made['folder']}")
