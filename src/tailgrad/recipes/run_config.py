"""Run one configuration into its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError
from tailgrad.distributed import agreed, first_does, place
from tailgrad.engine import (
    Fitted,
    Interrupted,
    MetricsLog,
    MonitoredStep,
    Observer,
    Plan,
    ProgressFile,
    fit,
    last_progress,
)
from tailgrad.engine.loop import Step
from tailgrad.files import write_text
from tailgrad.interference import Monitor
from tailgrad.models import check_map
from tailgrad.recipes.after_training import make_chain
from tailgrad.recipes.announce import announce
from tailgrad.recipes.assemble import (
    assemble,
    head_name,
    make_loss,
    make_model,
    normalizer,
    settle_pretrained,
)
from tailgrad.recipes.between_epochs import between_epochs
from tailgrad.recipes.combine import check_model
from tailgrad.recipes.components import NONE
from tailgrad.recipes.config import Config
from tailgrad.recipes.finish import EarlyConflict
from tailgrad.recipes.fresh_folder import fresh_folder
from tailgrad.recipes.job import Job
from tailgrad.recipes.loggers import live_logs
from tailgrad.recipes.orders import training_loader
from tailgrad.recipes.own_loss import MakeLoss, own_errors
from tailgrad.recipes.prepare import FEW_IN_FOCUS, prepare
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.prior import method_ledger
from tailgrad.recipes.resample_rows import resampled
from tailgrad.recipes.run_estimator import run_estimator
from tailgrad.recipes.run_folder import RunFolder, config_text, with_settled
from tailgrad.recipes.same_split import keep_split
from tailgrad.recipes.scores import validator
from tailgrad.recipes.speed import settle, threads_of
from tailgrad.recipes.stage_checks import check_stages
from tailgrad.recipes.stages import run_stages
from tailgrad.recipes.stepping import choose_step
from tailgrad.recipes.talk import Talk
from tailgrad.recipes.task import headline, task_of
from tailgrad.recipes.unreadable import UnreadableLog
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
        own_loss: makes a loss of the user's own, called with the class counts.

    Example: see ``train``.
    """
    say = talk or Talk(None)
    # Lightning takes seconds to load, and a name or a value may be wrong before it is needed.
    from tailgrad.recipes.launch import launched

    with launched(config), fresh_folder(folder.path):
        rank, processes = place()
        say = say if rank == 0 else Talk(None)
        if processes > 1:
            say(f"{processes} processes share every batch")
        config = folder.start(config, resume=resume)
        if folder.bereft:
            say(f"warning: {folder.path} has a result and no predictions.parquet; it is evaluated again")
        ready = (prepared or prepare(config, opened, say)).for_run()
        keep_split(folder, ready)
        ready = resampled(ready, config, say)
        with threads_of(config):
            if config.estimator.name == NONE:
                result = _trained(config, folder, ready, say, own_loss)
            else:
                result = run_estimator(config, folder, ready, say)
        if prepared is None:  # in a study the report of the whole replaces those of its runs
            first_does(lambda: write_report(folder.path, source=ready.source))
    say(f"{config.method}, seed {config.seed}: {headline(result)}")
    return Run(folder.path, result)


def _trained(
    config: Config, folder: RunFolder, ready: Prepared, say: Talk, own_loss: MakeLoss | None
) -> dict[str, Any]:
    job, seconds = _job(config, folder, ready, say, own_loss)
    announce(job, seconds)
    with own_errors(own_loss, job.learner.loss):
        fitted = _fit(job)
        stages = run_stages(job, _meta(job), fitted)
        return task_of(ready.source).finish(job, fitted, stages)


def _job(
    config: Config, folder: RunFolder, ready: Prepared, say: Talk, own_loss: MakeLoss | None
) -> tuple[Job, float]:
    pretrained = agreed(settle_pretrained(config, ready.classes.num_classes, say))
    config = with_settled(config, {"pretrained": pretrained})
    model = make_model(config, ready.classes.num_classes, say, ready.columns)
    spatial = say.warn_of(lambda: check_map(model, ready.size)) if ready.encoding is None else ()
    if spatial:
        say(f"final feature map of {' x '.join(map(str, spatial))} positions")
    check_model(config.combine, model, ready.size)
    target = ready.training_labels.tolist()
    stage_losses = check_stages(config, model, ready.classes, target, own_loss)
    loss = make_loss(config, ready.classes, own_loss, model, len(target))
    chain = make_chain(config, ready.classes.counts)
    prior = method_ledger(config, ready.classes, target, {-1: loss, **stage_losses}, chain.steps)
    speed = settle(config, model, ready.size, len(target), say)
    config = with_settled(config, speed.keys)
    write_text(folder.path / "config.yaml", config_text(config))
    normalize = normalizer(model, ready.normalize)
    learner = assemble(config, model, loss, normalize, ready.classes.counts)
    return Job(config, folder, ready, learner, normalize, say, prior, stage_losses), speed.seconds


def _fit(job: Job) -> Fitted:
    config, folder = job.config, job.folder
    loader = training_loader(job)
    last = folder.path / "checkpoint" / "last.safetensors"
    done = {"epoch": 0, "step": 0} | (last_progress(last, job.say) or {})
    if done["step"]:
        job.say(_going_on(done))
    observers: list[Observer] = [MetricsLog(folder.path / "metrics.jsonl", done["epoch"])]
    job.live.extend(live_logs(config, folder, done["step"]) if place()[0] == 0 else [])
    observers += [EarlyConflict(job), *job.live]
    observers += [UnreadableLog(job.ready.reading.passed_over, job.say)]
    steps, told = config.train.epochs * len(loader), folder.path / "progress.json"
    observers += [ProgressFile(told, steps)] if place()[0] == 0 else []
    with job.say.progress(steps, config.method) as bars:
        try:
            return fit(
                job.learner,
                loader,
                validator(job.learner, job.ready, 2 * config.train.batch_size, config.focus, _monitor(job)),
                _plan(job),
                step=_step(job, observers),
                watch=job.watch(),
                observers=[*observers, *bars],
                between=between_epochs(job),
            )
        except Interrupted as stop:
            raise Interrupted(f"{stop} in {folder.path}") from stop
        finally:
            told.unlink(missing_ok=True)


def _going_on(done: dict[str, Any]) -> str:
    within = f", at batch {done['done'] + 1} of the next" if done.get("done") else ""
    return f"going on after epoch {done['epoch']}{within}"


def _step(job: Job, observers: list[Observer]) -> Step:
    step, every = choose_step(job.config), job.config.interference.monitor_every
    if not every:
        return step
    monitor = Monitor(
        job.learner.network,
        job.ready.classes.names,
        parameters=job.config.interference.parameters,
        every=every,
    )
    return MonitoredStep(step, monitor, observers)


def _meta(job: Job) -> dict[str, Any]:
    config, classes = job.config, job.ready.classes
    return {
        "classes": {"names": list(classes.names), "counts": list(classes.counts)},
        "model": config.model.name,
        "head": {"name": head_name(config), "options": config.head.options},
        "size": list(job.ready.size),
        "mean": list(job.normalize.mean),
        "std": list(job.normalize.std),
        **({"columns": job.ready.columns} if job.ready.encoding is not None else {}),
    }


def _plan(job: Job) -> Plan:
    config = job.config
    return Plan(
        epochs=config.train.epochs,
        keep=job.folder.path / "checkpoint",
        patience=config.train.patience,
        monitor=f"val_{_monitor(job)}",
        seed=config.seed,
        minutes=config.train.max_minutes,
        save_minutes=config.train.save_minutes,
        meta=_meta(job),
    )


def _monitor(job: Job) -> str:
    """What chooses the epoch: the F1 of a class in focus only where enough images stand behind it."""
    config = job.config
    monitor = config.train.monitor
    if monitor == "focus_f1" and config.focus is None:
        raise InputError(
            f"train.monitor={monitor} needs a class, got focus={config.focus}; set --focus CLASS"
        )
    if config.focus is None or monitor != "macro_f1":
        return monitor
    return "focus_f1" if job.ready.validation_images(config.focus) >= FEW_IN_FOCUS else monitor
