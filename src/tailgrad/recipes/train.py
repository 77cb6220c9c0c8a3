"""Train one configuration: the main use of everything below."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from rich.console import Console
from torch import nn

from tailgrad.checks import InputError
from tailgrad.data import Source
from tailgrad.engine import (
    Fitted,
    Interrupted,
    LossWatch,
    MetricsLog,
    Observer,
    Plan,
    ScalarLog,
    fit,
    load_weights,
    supervised_step,
)
from tailgrad.files import write_text
from tailgrad.models import check_map
from tailgrad.recipes.assemble import (
    MakeLoss,
    assemble,
    device_of,
    head_name,
    make_loss,
    make_model,
    normalizer,
    settle_pretrained,
    settle_speed,
)
from tailgrad.recipes.components import OWN, check_names, check_options, components
from tailgrad.recipes.compose import ABOUT, compose, merge, overlay
from tailgrad.recipes.config import Config
from tailgrad.recipes.finish import EarlyConflict, finish
from tailgrad.recipes.fresh_folder import fresh_folder
from tailgrad.recipes.job import Job
from tailgrad.recipes.prepare import Prepared, open_config, prepare, split_seed
from tailgrad.recipes.run_folder import RunFolder, config_text, with_settled
from tailgrad.recipes.same_split import keep_split
from tailgrad.recipes.scores import validator
from tailgrad.recipes.talk import Talk, duration
from tailgrad.report import write_report


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: where it is.
        result: the content of ``result.json``.

    Example: see ``train``.
    """

    folder: Path
    result: dict[str, Any]

    @property
    def macro_f1(self) -> float:
        """Macro-F1 on the test part."""
        return float(self.result["test"]["macro_f1"]["value"])

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"


def train(
    source: Any,
    recipe: str | None = None,
    *,
    method: Any = None,
    regime: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    console: Console | None = None,
) -> Run:
    """Train a classifier on a source of images, evaluate it, measure its interference, write a report.

    Args:
        source: folder, CSV, parquet, ``cifar10-lt``, ``digits-lt``, arrays, or a map-style data set.
        recipe: regime and method in one: a name (``csba-paper``, ``quick``, ``folder``) or a YAML file.
        method: name, YAML file, overlay or loss class in place of the recipe's; default ``baseline``.
        regime: name or YAML file in place of the recipe's; default that of the source.
        overrides: nested configuration laid on top, such as ``{"optim": {"lr": 0.01}, "seed": 3}``.
        out: run folder; default ``runs/<data>.<regime>.<method>.split<i>.seed<j>``.
        resume: go on with the run in that folder; a finished one is returned as it is.
        console: where to say what happens; None is silent.

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
    if folder.finished and resume and folder.result()["status"] == "finished":
        folder.start(config, resume=True)
        talk(f"{folder.path} is finished; nothing to do")
        if not (folder.path / "report.html").exists():  # killed between the result and its report
            write_report(folder.path)
        return Run(folder.path, folder.result())
    own = own_losses({config.method: method}).get(config.method)
    return run_config(config, folder, opened=opened, resume=resume, talk=talk, own_loss=own)


def configure(
    source: Any,
    recipe: str | None = None,
    *,
    method: Any = None,
    regime: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    opened: Any = None,
) -> tuple[Config, Source]:
    """The configuration of a run and its source, opened unless it is already.

    Raises:
        InputError: a name, key or value is unknown, or the source cannot be opened.

    Example:
        >>> configure("digits-lt", "csba-paper")[0].optim.lr
        0.0001
    """
    named = overlay("recipes", recipe) if recipe is not None else {}
    text = str(source) if isinstance(source, str | Path) else "python"
    top = {k: v for k, v in named.items() if k not in {"regime", "method", *ABOUT}}
    above = merge(top, overrides or {})
    probe = compose(text, "quick", "baseline", {k: v for k, v in above.items() if k == "data"})
    if not isinstance(opened, Source):
        opened = open_config(probe, None if text != "python" else source)
    chosen = regime or named.get("regime") or opened.regime
    config = compose(text, chosen, as_overlay(method or named.get("method") or "baseline"), above)
    check_names(config)
    check_options("heads", head_name(config), config.head.options, skip=2)
    if not config.loss.name.startswith(OWN):
        check_options("losses", config.loss.name, config.loss.options, skip=1)
    device_of(config.train.device)
    return config, opened


def as_overlay(method: Any) -> str | Mapping[str, Any]:
    """A method as a name or an overlay; a loss class stands for itself on the regime's default head.

    Raises:
        InputError: it is none of these.

    Example:
        >>> from tailgrad.losses import FocalLoss
        >>> as_overlay(FocalLoss)["loss"]["name"]
        'focal'
    """
    if isinstance(method, str | Mapping):
        return method
    for name, item in components("losses").items():
        if method is item:
            return {"name": name, "loss": {"name": name}}
    if inspect.isclass(method) and issubclass(method, nn.Module):
        return {"name": method.__name__, "loss": {"name": f"{OWN}{method.__name__}"}}
    raise InputError(
        f"method must be a name, a YAML file, an overlay or a loss class, got {method!r}; see "
        "`tailgrad methods`"
    )


def own_losses(methods: Any) -> dict[str, MakeLoss]:
    """The loss classes of the user's own among methods by name.

    Example:
        >>> own_losses({"a": "csba", "mine": nn.CrossEntropyLoss})
        {'mine': <class 'torch.nn.modules.loss.CrossEntropyLoss'>}
    """
    if not isinstance(methods, Mapping):
        return {}
    known = list(components("losses").values())
    own: dict[str, Any] = {name: item for name, item in methods.items() if inspect.isclass(item)}
    return {name: item for name, item in own.items() if item not in known}


def run_name(source: Source, config: Config) -> str:
    """The folder name of a run: ``<data>.<regime>.<method>.split<i>.seed<j>``.

    Example:
        >>> from tailgrad.data import open_source
        >>> run_name(open_source("digits-lt"), compose("digits-lt", "digits", "csba"))
        'digits-lt.digits.csba.split0.seed0'
    """
    split = split_seed(config, "test" in source.given)
    return f"{source.name}.{config.regime}.{config.method}.split{split}.seed{config.seed}"


def run_config(
    config: Config,
    folder: RunFolder,
    *,
    opened: Any = None,
    prepared: Prepared | None = None,
    resume: bool = False,
    talk: Talk | None = None,
    own_loss: MakeLoss | None = None,
) -> Run:
    """Run one configuration into a folder; see ``train``.

    Args:
        config: everything that decides the result.
        folder: where it goes.
        opened: the source, if it is already open or is a Python object.
        prepared: data shared with other runs of a study.
        resume: go on with what the folder holds.
        talk: who listens.
        own_loss: a loss class of the user's own, called with the class counts.

    Example: see ``train``.
    """
    say = talk or Talk(None)
    with fresh_folder(folder.path):
        config = folder.start(config, resume=resume)
        ready = prepared or prepare(config, opened, say)
        keep_split(folder, ready)
        loss = make_loss(config, ready.classes, own_loss)
        job, seconds = _job(config, folder, ready, say, loss)
        _announce(job, seconds)
        result = finish(job, _fit(job))
    if prepared is None:  # in a study the report of the whole replaces those of its runs
        write_report(folder.path)
    say(f"{config.method}, seed {config.seed}: test macro-F1 {result['test']['macro_f1']['value']:.3f}")
    return Run(folder.path, result)


def _job(config: Config, folder: RunFolder, ready: Prepared, say: Talk, loss: nn.Module) -> tuple[Job, float]:
    pretrained = settle_pretrained(config, ready.classes.num_classes, say)
    config = with_settled(config, {"pretrained": pretrained})
    model = make_model(config, ready.classes.num_classes, say)
    spatial = say.warn_of(lambda: check_map(model, ready.size))
    if spatial:
        say(f"final feature map of {' x '.join(map(str, spatial))} positions")
    speed = settle_speed(config, model, ready.size, len(ready.split.train))
    config = with_settled(config, {"precision": speed.precision, "channels_last": speed.channels_last})
    write_text(folder.path / "config.yaml", config_text(config))
    normalize = normalizer(model, ready.normalize)
    learner = assemble(config, model, loss, speed, normalize)
    return Job(config, folder, ready, learner, normalize, say), speed.seconds


def _announce(job: Job, seconds: float) -> None:
    config, say = job.config, job.say
    steps = -(-len(job.ready.split.train) // config.train.batch_size)
    validation = 0.3 * len(job.ready.split.val) / config.train.batch_size
    one = seconds * config.train.epochs * (steps + validation)
    needed = f"about {duration(one)}"
    if say.runs_left > 1:
        needed += f" a run, {duration(one * say.runs_left)} for the {say.runs_left} runs left"
    layout = "channels last" if config.train.channels_last else "contiguous"
    say(
        f"{config.method} on {config.model.name}: {config.train.precision}, {layout}; at most "
        f"{config.train.epochs} epochs of {steps} steps, {needed}"
    )


def _fit(job: Job) -> Fitted:
    config, folder = job.config, job.folder
    loader = job.ready.loader("train", config.train.batch_size, config.seed)
    last = folder.path / "checkpoint" / "last.safetensors"
    done = load_weights(last)[1]["progress"] if last.exists() else {"epoch": 0, "step": 0}
    if done["epoch"]:
        job.say(f"going on after epoch {done['epoch']}")
    observers: list[Observer] = [MetricsLog(folder.path / "metrics.jsonl", done["epoch"])]
    observers += [EarlyConflict(job), *_tensorboard(config, folder)]
    with job.say.progress(config.train.epochs * len(loader), config.method) as bars:
        try:
            return fit(
                job.learner,
                loader,
                validator(job.learner, job.ready, 2 * config.train.batch_size, config.focus),
                _plan(job),
                step=supervised_step,
                watch=LossWatch(job.ready.name, every=1 if job.learner.fabric.device.type == "cpu" else 20),
                observers=[*observers, *bars],
            )
        except Interrupted as stop:
            raise Interrupted(f"{stop} in {folder.path}") from stop


def _plan(job: Job) -> Plan:
    config, classes = job.config, job.ready.classes
    meta = {
        "classes": {"names": list(classes.names), "counts": list(classes.counts)},
        "model": config.model.name,
        "head": {"name": head_name(config), "options": config.head.options},
        "size": list(job.ready.size),
        "mean": list(job.normalize.mean),
        "std": list(job.normalize.std),
    }
    return Plan(
        epochs=config.train.epochs,
        keep=job.folder.path / "checkpoint",
        patience=config.train.patience,
        monitor=f"val_{_monitor(config)}",
        seed=config.seed,
        minutes=config.train.max_minutes,
        meta=meta,
    )


def _monitor(config: Config) -> str:
    monitor = config.train.monitor
    if monitor == "focus_f1" and config.focus is None:
        raise InputError(
            f"train.monitor={monitor} needs a class, got focus={config.focus}; set --focus CLASS"
        )
    return "focus_f1" if config.focus is not None and monitor == "macro_f1" else monitor


def _tensorboard(config: Config, folder: RunFolder) -> list[Observer]:
    if not config.train.tensorboard:
        return []
    try:
        return [ScalarLog(TensorBoardLogger(folder.path, name="tensorboard", version=""))]
    except ModuleNotFoundError as error:
        raise InputError(
            f"train.tensorboard=true needs the package {error.name}; install tailgrad[tensorboard] or set "
            "train.tensorboard=false"
        ) from error
