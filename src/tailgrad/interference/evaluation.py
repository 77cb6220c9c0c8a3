"""Evaluation mode for the length of a measurement, everything put back afterwards."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def evaluating(modules: Sequence[nn.Module], device: torch.device, seed: int = 0) -> Iterator[None]:
    """Evaluation mode with gradients for every floating-point parameter, seeded.

    The caller's autocast is kept. Recurrent layers run without cuDNN, whose backward pass refuses evaluation
    mode.

    On leaving, also by an exception, the modes of all submodules, every ``requires_grad`` and the states of
    the random generators (PyTorch's for the CPU and ``device``, NumPy's global one, Python's) are what they
    were.

    Example:
        >>> model = nn.Dropout().train()
        >>> with evaluating([model], torch.device("cpu")):
        ...     model.training
        False
        >>> model.training
        True
    """
    modes = [(m, m.training) for root in modules for m in root.modules()]
    flags = [(p, p.requires_grad) for root in modules for p in root.parameters()]
    cudnn = torch.backends.cudnn
    recurrent = any(isinstance(m, nn.RNNBase) for m, _ in modes)
    # cuDNN would otherwise round the inputs of convolutions to ten bits of mantissa
    exact = cudnn.flags(
        enabled=cudnn.enabled and not recurrent,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    )
    with exact, _random_states_kept(device, seed), torch.enable_grad():
        try:
            for root in modules:
                root.eval()
            for parameter, _ in flags:
                parameter.requires_grad_(parameter.is_floating_point())
            yield
        finally:
            for module, was in modes:
                module.train(was)  # parents come first, so that each child ends in its own mode
            for parameter, was in flags:
                parameter.requires_grad_(was)


@contextmanager
def _random_states_kept(device: torch.device, seed: int) -> Iterator[None]:
    cuda = (
        [torch.cuda.current_device() if device.index is None else device.index]
        if device.type == "cuda"
        else []
    )
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (data sets may draw from it)
    with torch.random.fork_rng(cuda):
        # torch.manual_seed would also reseed devices that are not restored here
        torch.default_generator.manual_seed(seed)
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
