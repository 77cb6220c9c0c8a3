"""What a run says before it trains."""

from tailgrad.optim.asymmetric_sam import passes
from tailgrad.recipes.combine import backward_passes
from tailgrad.recipes.config import Config
from tailgrad.recipes.job import Job
from tailgrad.recipes.orders import training_loader
from tailgrad.recipes.speed import way_of
from tailgrad.recipes.stepping import has_auxiliary, is_sharp
from tailgrad.recipes.waiting import duration


def announce(job: Job, seconds: float) -> None:
    """Say how the run will compute, how long it may take, and what corrects the prior unasked.

    Args:
        job: the run.
        seconds: measured time of a forward and a backward pass on one batch.

    Example: see ``recipes.train``.
    """
    config, say = job.config, job.say
    steps = len(training_loader(job))
    cost = step_cost(config, job.ready.classes.num_classes)
    one = config.train.epochs * seconds * (steps * cost + _validation_cost(job))
    needed = f"about {duration(one)}"
    if say.runs_left > 1:
        left = say.runs_left if say.work_left is None else say.work_left / (config.train.epochs * cost)
        needed += f" a run, {duration(one * left)} for the {say.runs_left} runs left"
    say(
        f"{config.method} on {config.model.name}: {way_of(config)}; at most "
        f"{config.train.epochs} epochs of {steps} steps, {needed}{_stages(job)}"
    )
    if job.prior.entries and job.ready.source.indicators is None:  # labels have no prior in common
        say(str(job.prior) if not say.is_study else f"class prior: {str(job.prior).splitlines()[-1]}")


def _stages(job: Job) -> str:
    """What is trained after that: it is not in the time, which is that of the first training."""
    told = [
        f"{stage.name} ({stage.epochs} epochs)" if stage.kind in ("train", "merge") else stage.name
        for stage in job.config.stages
    ]
    return f"; then {', '.join(told)}" if told else ""


def work(config: Config, classes: int) -> float:
    """About how much a run trains, stages too, in epochs of plain cross-entropy on the same network.

    Example:
        >>> work(Config(source="x", sharpness={"name": "sam"}), 10)
        60.0
    """
    later = sum(stage.epochs for stage in config.stages if stage.kind in ("train", "merge"))
    return config.train.epochs * step_cost(config, classes) + later


def step_cost(config: Config, classes: int) -> float:
    """In units of a forward and a backward pass, of which the backward pass takes about two thirds.

    Example:
        >>> step_cost(Config(source="x"), 10)
        1.0
    """
    if is_sharp(config):
        cost: float = passes(config.sharpness.name, min(classes, config.train.batch_size))
    else:
        cost = (1 + 2 * backward_passes(config.combine, classes, config.train.batch_size)) / 3
    return cost * (1 + config.auxiliary.views if has_auxiliary(config.auxiliary) else 1)


def _validation_cost(job: Job) -> float:
    return 0.3 * len(job.ready.split.val) / job.config.train.batch_size
