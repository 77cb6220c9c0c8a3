"""Stop on a loss or on weights that are not finite, without waiting on the device at every step."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tailgrad.distributed import rows_of_all
from tailgrad.engine.checkpoint import state_tensors
from tailgrad.engine.learner import Learner
from tailgrad.types import StepRecord


class Diverged(RuntimeError):  # noqa: N818 - the state of a run, as in "interrupted"
    """Training met a loss or weights that are NaN or infinite.

    Example:
        >>> raise Diverged("loss is nan at step 3")
        Traceback (most recent call last):
        ...
        tailgrad.engine.watch.Diverged: loss is nan at step 3
    """


class LossWatch:
    """Collect the losses of an epoch's steps on the device; look at them every ``every`` steps.

    Args:
        name: file name of an example, given its index in the source.
        every: steps between two looks (each waits for the device).

    Example:
        >>> import torch
        >>> watch = LossWatch(lambda i: f"{i}.png")
        >>> watch.add(torch.tensor(float("nan")), step=3, epoch=1, index=torch.tensor([7]))
        Traceback (most recent call last):
        ...
        tailgrad.engine.watch.Diverged: loss is nan at step 3 (epoch 1) on the batch of 7.png; ...
    """

    def __init__(self, name: Callable[[int], str], every: int = 1) -> None:
        self.name, self.every = name, every
        self.total, self.count = 0.0, 0
        self._waiting: list[tuple[Tensor, int, int, Tensor]] = []

    def add(self, loss: Tensor, *, step: int, epoch: int, index: Tensor) -> list[StepRecord]:
        """Note one step's loss; returns the records of the steps looked at now.

        Raises:
            Diverged: one of them is not finite.
        """
        self._waiting.append((loss, step, epoch, index))
        return self.flush() if len(self._waiting) >= self.every else []

    def flush(self) -> list[StepRecord]:
        """Look at every loss that waits.

        Raises:
            Diverged: one of them is not finite.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        losses = torch.stack([loss for loss, *_ in waiting]).float().tolist()
        records = [
            StepRecord(step, epoch, loss, tuple(index.tolist()))
            for loss, (_, step, epoch, index) in zip(losses, waiting, strict=True)
        ]
        for record in records:
            self._check(record)
        self.total, self.count = self.total + sum(losses), self.count + len(losses)
        return records

    def state(self) -> dict[str, float]:
        """Sum and number of the losses of an unfinished epoch, once all were looked at."""
        return {"total": self.total, "count": self.count}

    def load_state(self, state: dict[str, float]) -> None:
        """Go on from ``state``."""
        self.total, self.count = float(state["total"]), int(state["count"])

    def mean(self) -> float:
        """Mean loss of the steps since the last call."""
        value = self.total / max(1, self.count)
        self.total, self.count = 0.0, 0
        return value

    def _check(self, record: StepRecord) -> None:
        if not math.isfinite(record.loss):
            index = rows_of_all(torch.tensor(record.index))[0].tolist()
            files = ", ".join(self.name(i) for i in index[:8])
            more = f" and {len(index) - 8} more" if len(index) > 8 else ""
            raise Diverged(
                f"loss is {record.loss} at step {record.step} (epoch {record.epoch}) on the batch of "
                f"{files}{more}; look at these images, lower optim.lr or use train.precision=float32 "
                "(what was saved before is kept)"
            )


class WeightWatch:
    """Refuse to keep a state that is not finite: gradients can overflow under a loss that is finite.

    Tensors that are not finite before training, such as a mask of minus infinity, are left out.

    Args:
        learner: its network, loss and optimiser are watched.

    Example:
        >>> learner = Learner.plain(torch.nn.Linear(2, 2), torch.nn.CrossEntropyLoss(), lr=0.1)
        >>> watch = WeightWatch(learner)
        >>> _ = learner.model.bias.data.fill_(float("inf"))
        >>> watch.check(step=3, epoch=1)
        Traceback (most recent call last):
        ...
        tailgrad.engine.watch.Diverged: model.bias is not finite after step 3 (epoch 1) ...
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self._left_out = set(self._not_finite())

    def check(self, *, step: int, epoch: int) -> None:
        """Look at everything a checkpoint would hold; waits for the device once.

        Raises:
            Diverged: some of it has become NaN or infinite.
        """
        found = [name for name in self._not_finite() if name not in self._left_out]
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise Diverged(
                f"{found[0]}{more} is not finite after step {step} (epoch {epoch}) though every loss was: a "
                "gradient overflowed; lower optim.lr, set train.clip_norm or use train.precision=float32 "
                "(what was saved before is kept)"
            )

    def _not_finite(self) -> list[str]:
        found: list[str] = []
        for tensors in self._by_device().values():
            # Both ends are NaN where any value is; one pass over the values, one wait for the device.
            ends = [torch.stack(value.detach().aminmax()).isfinite().all() for value in tensors.values()]
            finite = torch.stack(ends).tolist()
            found += [name for name, good in zip(tensors, finite, strict=True) if not good]
        return found

    def _by_device(self) -> dict[torch.device, dict[str, Tensor]]:
        found: dict[torch.device, dict[str, Tensor]] = {}
        for name, value in state_tensors(self.learner).items():
            if value.is_floating_point() and value.numel():
                found.setdefault(value.device, {})[name] = value
        return found
