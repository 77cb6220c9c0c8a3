"""One run in progress: what its stages hand to one another."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from tailgrad.augment import Normalize
from tailgrad.correction_ledger import Ledger
from tailgrad.engine import Learner, LossWatch
from tailgrad.engine.live_log import LiveLog
from tailgrad.recipes.config import Config
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.talk import Talk


@dataclass(frozen=True)
class Job:
    """Everything a stage of a run reads.

    Args:
        config: settled configuration.
        folder: where results go.
        ready: split and decoded data.
        learner: the network with what trains it.
        normalize: stored images -> inputs.
        say: who listens.
        prior: what the method makes of the class prior.
        stage_losses: the loss of every later stage that trains, by its place.
        live: programs that the run is followed in.
        began: ``time.monotonic()`` when the run was started or resumed.

    Example: see ``recipes.train``.
    """

    config: Config
    folder: RunFolder
    ready: Prepared
    learner: Learner
    normalize: Normalize
    say: Talk
    prior: Ledger
    stage_losses: Mapping[int, nn.Module] = field(default_factory=dict)
    live: list[LiveLog] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def watch(self) -> LossWatch:
        """A new watch on the loss that looks as often as ``train.log_every`` says."""
        every = self.config.train.log_every
        if every == "auto":  # each look waits for a GPU
            every = 1 if self.learner.fabric.device.type == "cpu" else 20
        return LossWatch(self.ready.name, every=int(every))

    def minutes_left(self) -> float | None:
        """What is left of ``train.max_minutes`` in this sitting; None without a limit."""
        limit = self.config.train.max_minutes
        return None if limit is None else max(1e-9, limit - (time.monotonic() - self.began) / 60)
