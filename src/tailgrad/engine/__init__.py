"""The training loop: it receives a model, a loss, an optimiser and data, and imports none by name.

A step is a function ``step(learner, batch) -> loss`` that leaves the parameters updated;
``supervised_step`` is the smallest one. What it minimises is the learner's objective, ``objective(learner,
examples) -> loss``: the plain loss unless a method adds to it. An observer has ``on_step(StepRecord)`` and
``on_epoch(row)``. To add a way of stepping: write a function with the same signature in a file of its own
and let ``tailgrad.recipes`` choose it.
"""

from tailgrad.engine.balanced_step import balanced_step
from tailgrad.engine.checkpoint import last_progress, load_last, load_weights, save_last, save_weights
from tailgrad.engine.combine_step import combined_step
from tailgrad.engine.compiled import Compiled, check_compiler
from tailgrad.engine.examples import Examples
from tailgrad.engine.gap_step import gap_step
from tailgrad.engine.infer import infer
from tailgrad.engine.joint_objective import Auxiliary, joint_objective
from tailgrad.engine.learner import Learner
from tailgrad.engine.live_log import LiveLog
from tailgrad.engine.loop import Fitted, Interrupted, Plan, fit
from tailgrad.engine.monitoring import MonitoredStep
from tailgrad.engine.observers import MetricsLog, Observer
from tailgrad.engine.progress import ProgressBar, ProgressFile
from tailgrad.engine.schedule import Schedule
from tailgrad.engine.sharp_step import sharp_step
from tailgrad.engine.step import supervised_step
from tailgrad.engine.trial import Trial, choose_speed, fastest, parts_of, time_steps, time_ways
from tailgrad.engine.two_branch_objective import two_branch_objective
from tailgrad.engine.watch import Diverged, LossWatch

__all__ = [
    "Auxiliary",
    "Compiled",
    "Diverged",
    "Examples",
    "Fitted",
    "Interrupted",
    "Learner",
    "LiveLog",
    "LossWatch",
    "MetricsLog",
    "MonitoredStep",
    "Observer",
    "Plan",
    "ProgressBar",
    "ProgressFile",
    "Schedule",
    "Trial",
    "balanced_step",
    "check_compiler",
    "choose_speed",
    "combined_step",
    "fastest",
    "fit",
    "gap_step",
    "infer",
    "joint_objective",
    "last_progress",
    "load_last",
    "load_weights",
    "parts_of",
    "save_last",
    "save_weights",
    "sharp_step",
    "supervised_step",
    "time_steps",
    "time_ways",
    "two_branch_objective",
]
