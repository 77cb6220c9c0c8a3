"""Train one configuration: the main use of everything below."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailgrad.recipes.configure import configure, own_losses, run_name
from tailgrad.recipes.run_config import Run, run_config
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.talk import Listener, Talk
from tailgrad.report import write_report


def train(
    source: Any,
    recipe: str | None = None,
    *,
    method: Any = None,
    regime: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    console: Listener = "stderr",
) -> Run:
    """Train a classifier on a source of images, evaluate it, measure its interference, write a report.

    Args:
        source: folder, CSV, parquet, ``cifar10-lt``, ``digits-lt``, arrays, or a map-style data set.
        recipe: regime and method in one: a name (``csba-paper``, ``quick``, ``folder``) or a YAML file.
        method: name, YAML file, overlay, loss class or what else makes a loss (see ``configure.as_overlay``)
            in place of the recipe's; default ``baseline``.
        regime: name or YAML file in place of the recipe's; default that of the source.
        overrides: nested configuration laid on top, such as ``{"optim": {"lr": 0.01}, "seed": 3}``.
        out: run folder; default ``runs/<data>.<regime>.<method>.split<i>.seed<j>``.
        resume: go on with the run in that folder; a finished one is returned as it is.
        console: where to say what happens: a console, "stderr", or None for silence.

    Raises:
        InputError: anything about the input is wrong.
        Interrupted: the user pressed Ctrl-C; the run can be resumed.
        Diverged: the loss is not finite.

    Example:
        >>> import tempfile
        >>> quick = {"train": {"epochs": 1, "precision": "float32", "channels_last": False},
        ...          "interference": {"enabled": False}, "data": {"size": 48, "near_duplicates": False}}
        >>> run = train("digits-lt", overrides=quick, out=tempfile.mkdtemp() + "/run")
        >>> 0 <= run.macro_f1 <= 1
        True
    """
    talk = Talk(console)
    config, opened = configure(source, recipe, method=method, regime=regime, overrides=overrides)
    folder = RunFolder(Path(out) if out is not None else Path("runs") / run_name(opened, config))
    if resume and folder.complete:
        folder.start(config, resume=True)
        talk(f"{folder.path} is finished; nothing to do")
        if not (folder.path / "report.html").exists():  # killed between the result and its report
            write_report(folder.path)
        return Run(folder.path, folder.result())
    own = own_losses({config.method: method}).get(config.method)
    return run_config(config, folder, opened=opened, resume=resume, talk=talk, own_loss=own)
