"""Posthoc methods of a run: made, fitted on validation logits, stored with the weights, and read back."""

import copy
from pathlib import Path

import torch
from torch import Tensor

from tailgrad.engine import load_weights, save_weights
from tailgrad.posthoc import Chain
from tailgrad.recipes.components import build
from tailgrad.recipes.config import Config
from tailgrad.untrusted import of_shape

FILE = "posthoc.safetensors"


def make_chain(config: Config, counts: tuple[int, ...]) -> Chain:
    """The named methods in order, not fitted yet; a chain of none changes nothing.

    Raises:
        InputError: a name or an option is unknown, or an option is out of range.

    Example:
        >>> import torch
        >>> chain = make_chain(Config(source="x", posthoc=[{"name": "logit_adjustment"}]), (100, 1))
        >>> chain.fit(torch.zeros(2, 2), torch.tensor([0, 1])).transform(torch.zeros(1, 2)).argmax().item()
        1
    """
    made = [build("posthoc", one.name, one.options, list(counts)) for one in config.posthoc]
    return Chain(made)


def fit_chain(chain: Chain, logits: Tensor, target: Tensor, folder: Path) -> Chain:
    """Fit on held-out logits and write the result beside the weights.

    Args:
        chain: is changed.
        logits: of validation data [N, K].
        target: their classes [N].
        folder: of the checkpoint.

    Raises:
        InputError: a method cannot be fitted, or the file cannot be written.

    Example: see ``recipes.finish``.
    """
    if not len(chain.steps):
        return chain
    chain.fit(logits, target)
    save_weights(folder / FILE, chain, {"fitted on": "validation", "examples": len(target)})
    return chain


def _check_fit(chain: Chain, num_classes: int) -> None:
    """What was read must turn logits of the run into logits."""
    # Of a copy: a method that goes on learning from what it sees would begin with this.
    found = copy.deepcopy(chain).transform(torch.zeros(2, num_classes))
    if found.shape != (2, num_classes) or not found.isfinite().all():
        raise ValueError(f"logits {tuple(found.shape)} of {num_classes} classes, or not finite")


def load_chain(config: Config, counts: tuple[int, ...], folder: Path) -> Chain:
    """The fitted methods of a run.

    Raises:
        InputError: the file is missing or is of other methods.

    Example: see ``recipes.restore``.
    """
    chain = make_chain(config, counts)
    if len(chain.steps):
        path = folder / FILE
        with of_shape(path, "restore it"):
            chain.load_state_dict(load_weights(path)[0])
            _check_fit(chain, len(counts))
    return chain
