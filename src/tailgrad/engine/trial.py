"""Measured trials of the training step: what is fast here, and how long a run will take."""

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from tailgrad.checks import one_of
from tailgrad.engine.compiled import MODES, Compiled

PRECISIONS = ("float32", "bfloat16")
OFF = "off"
WORTH = 0.9
"""Share of the plain step's time that a change may take: it changes numbers, and timing is noisy."""


@dataclass(frozen=True)
class Trial:
    """One way to run the step and how long it took.

    Args:
        precision: "float32" or "bfloat16" (mixed: parameters stay float32).
        channels_last: memory layout.
        seconds: median time of one step.
        compile: "off", or a mode of ``torch.compile``.
        fused: whether the optimiser's fused kernel updates.
        compile_seconds: what the first step took longer than the others.

    Raises:
        InputError: an unknown precision or mode.

    Example:
        >>> Trial("float32", channels_last=False, seconds=0.5).compile
        'off'
    """

    precision: str
    channels_last: bool
    seconds: float = 0.0
    compile: str = OFF
    fused: bool = False
    compile_seconds: float = 0.0

    def __post_init__(self) -> None:
        one_of("train.precision", self.precision, PRECISIONS)
        one_of("train.compile", self.compile, (OFF, *MODES))

    def pays_after(self, other: "Trial") -> float:
        """Steps after which this way has earned back its compilation against ``other``; inf if never.

        Example:
            >>> slow = Trial("float32", channels_last=False, seconds=1.0)
            >>> replace(slow, seconds=0.5, compile="default", compile_seconds=30.0).pays_after(slow)
            60.0
        """
        gain = other.seconds - self.seconds
        return self.compile_seconds / gain if gain > 0 else float("inf")


MakeOptimizer = Callable[[Iterable[nn.Parameter], bool], Optimizer]
"""(parameters, whether fused) -> the optimiser of the run."""


def plain_sgd(parameters: Iterable[nn.Parameter], fused: bool) -> Optimizer:
    """SGD with momentum, where nothing is known of the run's optimiser.

    Example:
        >>> plain_sgd(nn.Linear(2, 2).parameters(), False).defaults["momentum"]
        0.9
    """
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, fused=fused or None)


def time_steps(step: Callable[[], object], repeats: int = 3) -> float:
    """Median seconds of ``step()`` after one warm-up call; waits for the GPU where there is one.

    Example:
        >>> time_steps(lambda: None) < 1
        True
    """
    _timed(step)
    return _median([_timed(step) for _ in range(repeats)])


def choose_speed(
    model: nn.Module,
    images: Tensor,
    precisions: Sequence[str] = PRECISIONS,
    layouts: Sequence[bool] = (False, True),
    repeats: int = 3,
) -> Trial:
    """The fastest combination for a training step of a copy of ``model`` on ``images``.

    A change from the first precision and layout is made only for a gain of more than 10 %, since it
    changes numbers in the last digits and timing is noisy. The random state is left as it was.

    Args:
        model: on the device of ``images``; it is not changed.
        images: a training batch [N, 3, H, W], floating point.
        precisions: those to try.
        layouts: values of ``channels_last`` to try.
        repeats: timed steps each.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
        >>> choose_speed(net, torch.rand(2, 3, 8, 8), layouts=[False], repeats=1).seconds > 0
        True
    """
    ways = [Trial(precision, last) for precision in precisions for last in layouts]
    return fastest(time_ways(model, images, ways, repeats=repeats))


def fastest(trials: Sequence[Trial], steps: float = 0) -> Trial:
    """The way to go: the fastest that is worth leaving the first one for.

    Args:
        trials: the plain way first.
        steps: length of the run; a compiled way has to earn back its compilation twice over against the
            best of the others.

    Example:
        >>> plain = Trial("float32", channels_last=False, seconds=1.0)
        >>> compiled = replace(plain, seconds=0.5, compile="default", compile_seconds=30.0)
        >>> fastest([plain, compiled], steps=100).compile, fastest([plain, compiled], steps=200).compile
        ('off', 'default')
    """
    plain = trials[0]
    best = _best([trial for trial in trials if trial.compile == plain.compile], plain)
    paying = [trial for trial in trials if 2 * trial.pays_after(best) <= steps]
    return _best(paying, best)


def _best(trials: Sequence[Trial], instead_of: Trial) -> Trial:
    found = min(trials, key=lambda trial: trial.seconds, default=instead_of)
    return found if found.seconds < WORTH * instead_of.seconds else instead_of


def time_ways(
    model: nn.Module,
    images: Tensor,
    ways: Sequence[Trial],
    *,
    make_optimizer: MakeOptimizer = plain_sgd,
    repeats: int = 3,
) -> list[Trial]:
    """The ways with the seconds of a step: forward pass, loss, backward pass and update of a copy.

    Every way is timed in turn with the first one, and its seconds are those of the first one times the
    median ratio, so that what else the machine does counts little. The random state is left as it was.

    Args:
        model: on the device of ``images``; it is not changed.
        images: a training batch [N, 3, H, W], floating point.
        ways: those to try, the plain one first.
        make_optimizer: the run's.
        repeats: timed steps each.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
        >>> ways = [Trial("float32", False), Trial("bfloat16", False)]
        >>> [trial.seconds > 0 for trial in time_ways(net, torch.rand(2, 3, 8, 8), ways, repeats=1)]
        [True, True]
    """
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        plain = _step_of(copy.deepcopy(model), images, ways[0], make_optimizer)
        first = _timed(plain)
        times = [_timed(plain) for _ in range(repeats)]
        seconds = _median(times)
        found = [replace(ways[0], seconds=seconds, compile_seconds=_over(first, seconds, ways[0]))]
        for way in ways[1:]:
            step = _step_of(copy.deepcopy(model), images, way, make_optimizer)
            first = _timed(step)
            ratio = _median([_timed(step) / _timed(plain) for _ in range(repeats)])
            own = ratio * seconds
            found.append(replace(way, seconds=own, compile_seconds=_over(first, own, way)))
    return found


def _over(first: float, usual: float, way: Trial) -> float:
    return 0.0 if way.compile == OFF else max(0.0, first - usual)


def _timed(step: Callable[[], object]) -> float:
    begin = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def _median(values: Sequence[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]


def _step_of(
    model: nn.Module, images: Tensor, way: Trial, make_optimizer: MakeOptimizer
) -> Callable[[], None]:
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    model = model.train().to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
    images = images.contiguous(memory_format=layout)
    optimizer = make_optimizer([p for p in model.parameters() if p.requires_grad], way.fused)
    compiled = None if way.compile == OFF else Compiled(parts_of(model), way.compile, len(images))

    def step() -> None:
        running = nullcontext() if compiled is None else compiled.running(images)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=way.precision == "bfloat16"), running:
            logits = model(images).flatten(1).float()
        target = torch.arange(len(logits), device=images.device) % logits.shape[1]
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(logits, target)
        loss.backward()  # type: ignore[no-untyped-call]  # missing in torch's stubs
        optimizer.step()

    return step


def parts_of(model: nn.Module) -> list[nn.Module]:
    """What is compiled of a network, piece by piece: backbone and head, or all where it has none.

    Example:
        >>> parts_of(nn.Identity())
        [Identity()]
    """
    parts = [getattr(model, name, None) for name in ("backbone", "head")]
    return [part for part in parts if isinstance(part, nn.Module)] or [model]
