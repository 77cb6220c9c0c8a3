"""What makes the step fast on this machine: measured once, written down, kept on resume."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.distributed import agreed, place
from tailgrad.engine import Trial, check_compiler, fastest, time_ways
from tailgrad.engine.compiled import MODES
from tailgrad.engine.trial import OFF, PRECISIONS
from tailgrad.recipes.assemble import can_compile, device_of, head_name, make_optimizer
from tailgrad.recipes.config import Config
from tailgrad.recipes.row_speed import settle_rows, takes_rows
from tailgrad.recipes.settled_speed import Speed
from tailgrad.recipes.speed_cache import cache_file, machine, recall, remember
from tailgrad.recipes.waiting import Say, silent

AUTO = "auto"
_LONG_TRIAL = ("compile", "fused")
_TRIED = ("precision", "channels_last", *_LONG_TRIAL)
_STEP = 0.5  # seconds, of which the short trial takes some 25
_FEW = 8
_LONG = 60.0
"""Seconds that a run has to take for a compiled way to be worth trying."""


@contextmanager
def threads_of(config: Config) -> Iterator[None]:
    """Inside, PyTorch uses as many threads of the CPU as the configuration says.

    Example:
        >>> with threads_of(Config(source="x", train={"threads": 1})):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if config.train.threads != AUTO:
        torch.set_num_threads(int(config.train.threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settle(
    config: Config,
    model: nn.Module,
    size: tuple[int, int],
    images_there: int | None = None,
    say: Say = silent,
) -> Speed:
    """Settle what is ``auto`` of precision, memory layout, compilation, fused update and threads.

    Precision and layout by a few steps on random images. Where compilation or the fused update are ``auto``
    (``--tune-speed``) by a longer trial, which is kept in the user's cache folder for the next time.

    Args:
        config: batch size, and what to try.
        model: it is copied for the trial.
        size: (height, width) of the images; of a table how many numeric columns, and columns of categories.
        images_there: number of training images: a batch may hold them all, and they say how long a run is.
        say: told what was measured.

    Raises:
        InputError: the network cannot train on such batches (one image whose last map is 1 x 1); a
            compilation is asked for by name that this machine cannot make.

    Example:
        >>> from tailgrad.recipes.assemble import make_model
        >>> from tailgrad.recipes.compose import compose
        >>> config = compose("digits-lt", "digits", "baseline",
        ...     {"train": {"precision": "float32", "channels_last": False, "batch_size": 4, "threads": 1}})
        >>> settle(config, make_model(config, 10), (32, 32)).keys["precision"]
        'float32'
    """
    if takes_rows(model):
        return settle_rows(config, model, size, images_there)
    device, wanted = device_of(config.train.device), config.train
    if wanted.compile not in (OFF, AUTO):
        check_compiler(device)
    with threads_of(config):
        trial = _Choice(config, model.to(device), _images(config, size, images_there, device), say)
        found = trial.choose(_steps(config, images_there))
        threads = torch.get_num_threads()
    keys = {
        "precision": found.precision,
        "channels_last": found.channels_last,
        "compile": found.compile if wanted.compile == AUTO else wanted.compile,
        "fused": found.fused,
        "threads": threads,
    }
    return Speed(*agreed([keys, found.seconds]))


def _images(config: Config, size: tuple[int, int], there: int | None, device: torch.device) -> Tensor:
    batch = math.ceil(min(config.train.batch_size, there or config.train.batch_size) / place()[1])
    with torch.random.fork_rng(devices=[]):
        return torch.rand(batch, 3, *size, device=device)


def _steps(config: Config, images_there: int | None) -> int:
    return config.train.epochs * math.ceil((images_there or 0) / config.train.batch_size)


@dataclass(frozen=True)
class _Choice:
    """What there is to choose from, and what it is tried on."""

    config: Config
    model: nn.Module
    images: Tensor
    say: Say

    def choose(self, steps: int) -> Trial:
        if AUTO not in (getattr(self.config.train, key) for key in _LONG_TRIAL):
            return fastest(self._shortly_timed(self._plain_ways()))
        known = recall(self._key()) if self._alone else []
        trials = known or self._tuned(steps)
        chosen = fastest(trials, steps)
        self.say("\n".join(_table(trials, chosen, len(self.images))))
        if known:
            self.say(f"speed measured before on this machine: {cache_file(self._key())}")
        return chosen

    def _plain_ways(self) -> list[Trial]:
        train = self.config.train
        precisions = PRECISIONS if train.precision == AUTO else (train.precision,)
        fused = train.fused is True
        return [Trial(one, last, fused=fused) for one in precisions for last in self._layouts()]

    def _layouts(self) -> Sequence[bool]:
        wanted = self.config.train.channels_last
        return (False, True) if wanted == AUTO else (bool(wanted),)

    def _tuned(self, steps: int) -> list[Trial]:
        trials = self._timed(self._plain_ways(), repeats=5)
        best = min(trials, key=lambda trial: trial.seconds)
        if self.config.train.fused == AUTO:
            trials += self._more(trials[0], [replace(best, fused=True)])
            best = min(trials, key=lambda trial: trial.seconds)
        missing = self._why_not_compile(steps * best.seconds)
        if missing:  # a longer run, or one with a compiler, has more to measure
            self.say(missing)
            return trials
        trials += self._compiled(trials[0], best)
        if not self._alone:
            return trials
        if not remember(self._key(), trials):
            self.say(f"the speeds could not be kept in {cache_file(self._key()).parent}")
        return trials

    def _why_not_compile(self, seconds: float) -> str:
        if not self._compiles:
            return ""
        if seconds < _LONG:
            return f"torch.compile is not tried: the run takes about {seconds:.0f} s without"
        try:
            check_compiler(self.images.device, remedy="the run goes on without")
        except InputError as error:
            return str(error)
        return ""

    @property
    def _compiles(self) -> bool:
        return self.config.train.compile == AUTO and can_compile(self.config) and self._alone

    @property
    def _alone(self) -> bool:
        """Several processes compile nothing, and what one of them finds in its cache is not for all."""
        return place()[1] == 1

    def _compiled(self, plain: Trial, best: Trial) -> list[Trial]:
        modes = MODES if self.images.is_cuda else MODES[:1]  # CUDA graphs are all that the other adds
        layouts = self._layouts() if self._compiles else ()
        ways = [replace(best, compile=mode, channels_last=last) for mode in modes for last in layouts]
        try:
            return self._more(plain, ways)
        except RuntimeError as error:  # a layer that PyTorch cannot compile
            reason = str(error).strip().splitlines()[0]
            self.say(f"torch.compile failed with this network ({reason}); the run goes on without")
            return []

    def _more(self, plain: Trial, ways: list[Trial]) -> list[Trial]:
        """Further ways, in the seconds of the first trial."""
        if not ways:
            return []
        again, *found = self._timed([plain, *ways], repeats=5)
        return [replace(one, seconds=one.seconds * plain.seconds / again.seconds) for one in found]

    def _shortly_timed(self, ways: list[Trial]) -> list[Trial]:
        """On so many images of the batch that a step takes about ``_STEP`` seconds, and scaled to all."""
        whole, few = len(self.images), self.images[:_FEW]
        (one,) = replace(self, images=few)._timed(ways[:1], repeats=1)
        some = self.images[: max(_FEW, int(_STEP / one.seconds * len(few)))]
        found = replace(self, images=some)._timed(ways)
        return [replace(way, seconds=way.seconds * whole / len(some)) for way in found]

    def _timed(self, ways: list[Trial], repeats: int = 3) -> list[Trial]:
        settings = self.config.optim
        try:
            return time_ways(
                self.model,
                self.images,
                ways,
                make_optimizer=lambda parameters, fused: make_optimizer(
                    settings, list(parameters), fused=fused
                ),
                repeats=repeats,
            )
        except ValueError as error:
            height, width = self.images.shape[2:]
            raise InputError(
                f"train.batch_size must suit the network, got {len(self.images)} at {height} x {width}: "
                f"{error}; use larger batches or images"
            ) from error

    def _key(self) -> dict[str, Any]:
        config = self.config
        return {
            **machine(self.images.device),
            "model": config.model.name,
            "head": [head_name(config), config.head.options],
            "architecture": config.architecture.name,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "images": list(self.images.shape),
            "optimizer": config.optim.name,
            "tried": {key: getattr(config.train, key) for key in _TRIED} | {"compiles": self._compiles},
        }


def _table(trials: Sequence[Trial], chosen: Trial, images: int) -> list[str]:
    """What a long trial found, a line a way, as it is said."""
    plain = trials[0]
    eager = min(one.seconds for one in trials if one.compile == OFF)
    lines = [f"one training step of {images} images, {torch.get_num_threads()} threads:"]
    for one in trials:
        mark = ">" if one == chosen else " "
        times = f"{1000 * one.seconds:9.1f} ms {plain.seconds / one.seconds:6.2f} x"
        lines.append(f"{mark} {in_words(one):<54}{times}{_price(one, eager)}")
    return lines


def _price(one: Trial, eager: float) -> str:
    if one.compile == OFF:
        return ""
    pays = one.pays_after(replace(one, seconds=eager))
    after = f"pays after {math.ceil(pays)} steps" if math.isfinite(pays) else "never pays"
    return f"  compiled in {one.compile_seconds:.0f} s, {after}"


def way_of(config: Config) -> str:
    """How a run with settled speed steps, in words.

    Example:
        >>> settled = {"precision": "float32", "channels_last": False, "compile": "default"}
        >>> way_of(Config(source="x", train=settled, sharpness={"name": "sam"}))
        'float32, contiguous, compile default (left out by this method)'
    """
    train = config.train
    way = Trial(train.precision, bool(train.channels_last), compile=train.compile, fused=train.fused is True)
    left_out = way.compile != OFF and not can_compile(config)
    return in_words(way) + (" (left out by this method)" if left_out else "")


def in_words(way: Trial) -> str:
    """A way to step.

    Example:
        >>> in_words(Trial("bfloat16", channels_last=True, fused=True))
        'bfloat16, channels last, fused update'
    """
    parts = [way.precision, "channels last" if way.channels_last else "contiguous"]
    parts += ["fused update"] * way.fused
    return ", ".join(parts + ([] if way.compile == OFF else [f"compile {way.compile}"]))
