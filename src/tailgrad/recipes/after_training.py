"""Posthoc methods of a run: made, fitted on validation logits, stored with the weights, and read back."""

from pathlib import Path

from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.engine import load_weights, save_weights
from tailgrad.posthoc import Chain
from tailgrad.recipes.components import build
from tailgrad.recipes.config import Config

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


def load_chain(config: Config, counts: tuple[int, ...], folder: Path) -> Chain:
    """The fitted methods of a run.

    Raises:
        InputError: the file is missing or is of other methods.

    Example: see ``recipes.restore``.
    """
    chain = make_chain(config, counts)
    if len(chain.steps):
        path = folder / FILE
        try:
            chain.load_state_dict(load_weights(path)[0])
        except (RuntimeError, KeyError, ValueError) as error:
            raise InputError(f"posthoc must fit the run, got {path}: {error}; restore the file") from error
    return chain
