"""A short measured trial of the training step: what is fast here, and how long a run will take."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tailgrad.checks import one_of

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Trial:
    """One way to run the step and how long it took.

    Args:
        precision: "float32" or "bfloat16" (mixed: parameters stay float32).
        channels_last: memory layout.
        seconds: median time of one step.

    Example:
        >>> Trial("float32", channels_last=False, seconds=0.5).precision
        'float32'
    """

    precision: str
    channels_last: bool
    seconds: float

    def __post_init__(self) -> None:
        one_of("train.precision", self.precision, PRECISIONS)


def time_steps(step: Callable[[], object], repeats: int = 3) -> float:
    """Median seconds of ``step()`` after one warm-up call; waits for the GPU where there is one.

    Example:
        >>> time_steps(lambda: None) < 1
        True
    """
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return sorted(times[1:])[(repeats - 1) // 2]


def choose_speed(
    model: torch.nn.Module,
    images: Tensor,
    precisions: Sequence[str] = ("float32", "bfloat16"),
    layouts: Sequence[bool] = (False, True),
    repeats: int = 3,
) -> Trial:
    """The fastest combination for a forward and backward pass of a copy of ``model`` on ``images``.

    A change from float32 and the contiguous layout is made only for a gain of more than 10 %, since it
    changes numbers in the last digits and timing is noisy. The random state is left as it was.

    Args:
        model: on the device of ``images``; it is not changed.
        images: a training batch [N, 3, H, W], floating point.
        precisions: those to try.
        layouts: values of ``channels_last`` to try.
        repeats: timed passes each.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
        >>> choose_speed(net, torch.rand(2, 3, 8, 8), layouts=[False], repeats=1).seconds > 0
        True
    """
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        trials = [
            Trial(precision, last, _time_pass(copy.deepcopy(model), images, precision, last, repeats))
            for precision in precisions
            for last in layouts
        ]
    plain, fastest = trials[0], min(trials, key=lambda trial: trial.seconds)
    return fastest if fastest.seconds < 0.9 * plain.seconds else plain


def _time_pass(model: torch.nn.Module, images: Tensor, precision: str, last: bool, repeats: int) -> float:
    layout = torch.channels_last if last else torch.contiguous_format
    model = model.train().to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
    images = images.contiguous(memory_format=layout)

    def one_pass() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(images).float().square().mean()
        loss.backward()

    return time_steps(one_pass, repeats)
