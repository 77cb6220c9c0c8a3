"""A trained network back from its run folder."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.augment import Normalize
from tailgrad.checks import InputError, in_range
from tailgrad.engine import load_weights
from tailgrad.models import Classifier, create_model
from tailgrad.posthoc import Chain
from tailgrad.recipes.after_training import load_chain
from tailgrad.recipes.components import NONE
from tailgrad.recipes.config import Config
from tailgrad.recipes.hub import from_the_cache_only
from tailgrad.recipes.row_parts import Unchanged
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.types import ClassInfo
from tailgrad.untrusted import of_shape

_MOST_PARTS = 1024
_MOST_COLUMNS = 10**7
MAX_SIDE = 4096
"""Longest side of the images that a restored network may ask for, in pixels."""


@dataclass(frozen=True)
class Restored:
    """A network with what its inputs and outputs mean.

    Args:
        model: in evaluation mode.
        names: class names, in logit order.
        size: (height, width) of its inputs.
        resize: "squash" or "crop".
        normalize: uint8 images -> inputs; rows of a table stay as they are.
        posthoc: logits -> logits, fitted on validation data.

    Example: see ``restore``.
    """

    model: Classifier
    names: tuple[str, ...]
    size: tuple[int, int]
    resize: str
    normalize: Normalize | Unchanged
    posthoc: Chain


def restore(run: str | Path) -> Restored:
    """The network of a run's best epoch.

    Raises:
        InputError: the folder is not a run, its classifier is no network, it has no weights yet, or they are
            of another network.

    Example:
        >>> restore("missing")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must be the folder of a run, got missing without config.yaml; ...
    """
    folder = RunFolder(Path(run))
    config = folder.config()
    if config.estimator.name != NONE:
        raise InputError(
            f"run must be that of a network, got {run} of {config.estimator.name}, which has none; take a "
            "run of another method"
        )
    if not folder.weights.is_file():
        raise InputError(
            f"run must have weights, got {run} without {folder.weights.relative_to(folder.path)}: it stopped "
            "before its first epoch ended; go on with it by --resume"
        )
    return rebuilt(config, folder.weights)


def rebuilt(config: Config, weights: Path) -> Restored:
    """The network of a file of weights, with the posthoc methods beside it.

    Args:
        config: names architecture, posthoc methods and how images are resized.
        weights: as a run writes them.

    Raises:
        InputError: the weights are of another network, or not those of a run.

    Example: see ``restore``.
    """
    tensors, meta = load_weights(weights)
    if "classes" not in meta:
        raise InputError(f"weights must be those of a run, got {weights} without class names; restore it")
    with of_shape(weights, "restore it"):
        classes, size = _classes(meta), (1, 1) if "columns" in meta else _size(meta)
        model = _model(meta, config, tensors, str(weights))
        load_state(model, tensors, str(weights))
        normalize = (
            Unchanged() if "columns" in meta else Normalize(_channels(meta["mean"]), _channels(meta["std"]))
        )
        posthoc = load_chain(config, classes.counts, weights.parent)
    return Restored(model.eval(), classes.names, size, config.data.resize, normalize, posthoc)


def _classes(meta: dict[str, Any]) -> ClassInfo:
    names, counts = meta["classes"]["names"], meta["classes"]["counts"]
    if not (all(isinstance(name, str) for name in names) and all(isinstance(n, int) for n in counts)):
        raise TypeError("class names that are no texts, or counts that are no whole numbers")
    return ClassInfo(tuple(names), tuple(counts))


def _channels(values: Any) -> tuple[float, ...]:
    found = tuple(in_range("mean and std", value, -math.inf) for value in values)
    if len(found) != 3:
        raise ValueError(f"mean and std of {len(found)} channels")
    return found


def _columns(meta: dict[str, Any]) -> dict[str, Any]:
    """Columns of a table, which the backbone is built for; none for images."""
    found = meta.get("columns", {})
    for n in (found.get("numbers", 0), *found.get("categories", ())):
        if not isinstance(n, int) or not 0 <= n <= _MOST_COLUMNS:
            raise ValueError(f"columns or categories numbering {n} where 0 to {_MOST_COLUMNS} are expected")
    return dict(found)


def _size(meta: dict[str, Any]) -> tuple[int, int]:
    height, width = meta["size"]
    for side in (height, width):
        if not isinstance(side, int) or not 1 <= side <= MAX_SIDE:
            raise ValueError(f"images of side {side} where 1 to {MAX_SIDE} pixels are expected")
    return height, width


def _model(meta: dict[str, Any], config: Config, tensors: dict[str, Tensor], path: str) -> Classifier:
    """The network that the file names, made only if its tensors are those of the file."""
    for options in (meta["head"]["options"], config.architecture.options):
        _check_numbers(options, max(_MOST_PARTS, len(tensors)), path)
    make = partial(
        create_model,
        meta["model"],
        num_classes=len(meta["classes"]["names"]),
        head=meta["head"]["name"],
        head_options=meta["head"]["options"],
        backbone_options={**config.model.options, **_columns(meta)},
        architecture=config.architecture.name,
        architecture_options=config.architecture.options,
    )
    with from_the_cache_only(), _at_hand(meta["model"], path):
        # First without memory: a stranger's file may name a network of any size.
        with torch.device("meta"):
            load_state(make(), {name: value.to("meta") for name, value in tensors.items()}, path)
        return make()


def _check_numbers(options: dict[str, Any], most: int, path: str) -> None:
    """Refuse branches and experts by the million before they are made: each has a tensor in the file."""
    for key, value in options.items():
        if isinstance(value, int) and value > most:
            raise InputError(
                f"weights must fit the network, got {key}={value} in {path} with fewer tensors; restore it"
            )


@contextmanager
def _at_hand(model: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"model must be one that is at hand, got {model!r} in {path}, whose description would have to be "
            "fetched from the network; fetch it yourself if you trust it"
        ) from error


def load_state(model: nn.Module, tensors: dict[str, Tensor], path: str) -> None:
    """Put weights into a network.

    Raises:
        InputError: they are of another network or another number of classes, or not finite numbers.

    Example:
        >>> load_state(nn.Linear(2, 2), {}, "w.safetensors")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: weights must fit the network, got w.safetensors: Missing key(s) ...
    """
    for name, value in tensors.items():
        if value.is_complex() or not (value.is_meta or value.isfinite().all()):
            raise InputError(
                f"weights must be finite numbers, got NaN, infinity or a complex number in {name} of {path}; "
                "its training diverged or the file was changed: take other weights"
            )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise InputError(
            f"weights must fit the network, got {path}: {reason[:300]}; give the weights of this network and "
            "this set of classes"
        ) from error


def check_classes(before: Any, now: tuple[str, ...], path: str) -> None:
    """Check that a checkpoint was trained on these classes.

    Raises:
        InputError: names or order differ.

    Example:
        >>> check_classes(["a", "b"], ("a", "b"), "w.safetensors")
    """
    if tuple(before) != now:
        gone = [name for name in before if name not in now]
        new = [name for name in now if name not in before]
        raise InputError(
            f"the checkpoint's classes must be those of the data, got {len(before)} in {path} and {len(now)} "
            f"in the data (only in the checkpoint: {gone[:5] or 'none'}; only in the data: "
            f"{new[:5] or 'none'}); "
            "use a run trained on this class set"
        )
