"""Samplers made from a configuration and given to the training loader."""

from collections.abc import Sequence
from typing import Any

from tailgrad.distributed import place
from tailgrad.recipes.components import NONE, build
from tailgrad.recipes.config import NamedConfig
from tailgrad.recipes.job import Job
from tailgrad.types import Correction

NATURAL = "instance"
"""Every example once an epoch: the loader's own shuffle, bit for bit."""
PARTNER_SEED = 2**20
"""Added to the seed, so that a second batch is not the first one again."""


def make_order(
    sampler: NamedConfig, target: Sequence[int], *, epochs: int, batch_size: int, seed: int
) -> Any | None:
    """A sampler over training examples, or None for the loader's own shuffle.

    Args:
        sampler: name and options.
        target: class of every training example.
        epochs: of the run, for samplers that change over it.
        batch_size: for samplers that compose batches.
        seed: of the run.

    Raises:
        InputError: an option is out of range, or does not suit the data.

    Example:
        >>> balanced = NamedConfig(name="class_balanced")
        >>> order = make_order(balanced, [0, 0, 0, 1], epochs=2, batch_size=2, seed=0)
        >>> len(list(order))
        4
    """
    if sampler.name in (NONE, NATURAL):
        return None
    filled = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "num_replicas": 1, "rank": 0}
    return build("samplers", sampler.name, sampler.options, target, filled=filled)


def order_correction(order: Any) -> Correction | None:
    """How a sampler shifts the class prior; None for the loader's own shuffle.

    Example:
        >>> order_correction(None) is None
        True
    """
    return None if order is None else order.correction()


def training_loader(job: Job) -> Any:
    """Training batches in the order of the method's sampler, with a second batch where it has a partner.

    Example: see ``recipes.train``.
    """
    config = job.config
    loader = job.ready.loader("train", config.train.batch_size, config.seed)
    target, epochs, size = loader.target.tolist(), config.train.epochs, config.train.batch_size
    seeds = {config.seed: config.sampler, config.seed + PARTNER_SEED: config.partner}
    return loader.share(*place()).ordered(
        *(
            make_order(sampler, target, epochs=epochs, batch_size=size, seed=seed)
            for seed, sampler in seeds.items()
        )
    )
