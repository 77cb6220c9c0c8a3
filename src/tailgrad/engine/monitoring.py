"""Our own loop with a monitor of class gradients: what it finds goes to those observers that take records."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from tailgrad.engine.learner import Learner
from tailgrad.engine.loop import Step
from tailgrad.interference.monitor import Monitor
from tailgrad.types import Batch


class MonitoredStep:
    """A step with a monitor around it, to be given to ``fit`` in its place.

    Records reach every observer that has ``on_record``: ``MetricsLog`` writes them into ``metrics.jsonl``,
    ``LiveLog`` passes their numbers to TensorBoard and its like.

    Args:
        step: ``supervised_step``, or another that takes one batch from its forward pass to its update.
        monitor: of the learner's network.
        observers: those given to ``fit``.

    Raises:
        InputError: at a step that is due, what ``Monitor.begin`` refuses: soft labels.

    Example:
        >>> import torch
        >>> from tailgrad.engine.step import supervised_step
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4), torch.nn.Linear(4, 2))
        >>> learner = Learner.plain(net, torch.nn.CrossEntropyLoss(), lr=0.1)
        >>> step = MonitoredStep(supervised_step, Monitor(net, ["cat", "dog"]), [])
        >>> loss = step(learner, Batch(torch.ones(2, 3, 2, 2), torch.tensor([0, 1]), torch.arange(2)))
        >>> step.monitor.records[0]["count"]
        {'cat': 1.0, 'dog': 1.0}
    """

    def __init__(self, step: Step, monitor: Monitor, observers: Iterable[object]) -> None:
        self.step, self.monitor = step, monitor
        self._takers = [observer.on_record for observer in observers if hasattr(observer, "on_record")]

    def state(self) -> dict[str, Any]:
        """What the monitor carries from one sitting to the next."""
        return self.monitor.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on with a monitor of an earlier sitting."""
        self.monitor.load_state(state)

    def __call__(self, learner: Learner, batch: Batch) -> Tensor:
        """One step; a record follows where one was due."""
        known = len(self.monitor.records)
        with self.monitor.watch(batch.target):
            loss = self.step(learner, batch)
        for record in self.monitor.records[known:]:
            for take in self._takers:
                take(record)
        return loss
