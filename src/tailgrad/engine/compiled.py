"""Compiled code beside the modules it was made of: it runs where it is asked for, and nowhere else."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, one_of
from tailgrad.distributed import is_spread

MODES = ("default", "reduce-overhead")


class Compiled:
    """``torch.compile`` of some modules, in use for calls inside ``running`` alone.

    The modules stay what they are: names of the state, copies, hooks, measurements and every call outside
    ``running`` see them as they were written. So does a batch of another size, which would be compiled anew.

    Args:
        modules: those to compile, each for itself.
        mode: "default", or "reduce-overhead", which adds CUDA graphs on a GPU.
        size: examples of the batches that run compiled, at least 1.

    Raises:
        InputError: the mode is unknown.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> compiled = Compiled([net], "default", size=64)
        >>> with compiled.running(torch.zeros(3, 2)):  # another size: as it is written
        ...     net(torch.zeros(3, 2)).shape
        torch.Size([3, 1])
    """

    def __init__(self, modules: Sequence[nn.Module], mode: str, size: int) -> None:
        one_of("train.compile", mode, MODES)
        self.size = size
        self._calls: list[tuple[nn.Module, Callable[..., Any]]] = [
            (module, _compiled(module._call_impl, mode)) for module in modules
        ]

    @contextmanager
    def running(self, images: Tensor) -> Iterator[None]:
        """Inside, calls of the modules run compiled, where ``images`` [N, ...] are a batch of the size.

        Under several processes nothing does: statistics of BatchNorm are exchanged in the middle of a pass.
        """
        if len(images) != self.size or is_spread():
            yield
            return
        for module, call in self._calls:
            module._compiled_call_impl = call  # what nn.Module.compile sets
        try:
            yield
        finally:
            for module, _ in self._calls:
                module._compiled_call_impl = None


def check_compiler(device: torch.device, *, remedy: str = "set train.compile=off, or install one") -> None:
    """Compile a line of code, to see whether this machine can.

    Args:
        device: where it is to run.
        remedy: the end of the message.

    Raises:
        InputError: it cannot; the reason is named.

    Example: see ``recipes.speed``.
    """
    try:
        _compiled(_one_more, MODES[0])(torch.zeros(2, device=device))
    except Exception as error:  # whatever a missing or broken compiler raises
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"train.compile needs a compiler that works, got {type(error).__name__}: {reason}; {remedy}"
        ) from error


def _compiled(call: Callable[..., Any], mode: str) -> Callable[..., Any]:
    def whole(*inputs: Any, **more: Any) -> Any:
        return call(*inputs, **more)

    # Code of its own for each: PyTorch counts by code what it compiled, and gives up after eight times.
    whole.__code__ = whole.__code__.replace()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's own, of what it imports for this
        return torch.compile(whole, mode=mode, dynamic=False)


def _one_more(values: Tensor) -> Tensor:
    return values + 1
