"""A trained network back from its run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tailgrad.augment import Normalize
from tailgrad.checks import InputError
from tailgrad.engine import load_weights
from tailgrad.models import Classifier, create_model
from tailgrad.posthoc import Chain
from tailgrad.recipes.after_training import load_chain
from tailgrad.recipes.run_folder import RunFolder


@dataclass(frozen=True)
class Restored:
    """A network with what its inputs and outputs mean.

    Args:
        model: in evaluation mode.
        names: class names, in logit order.
        size: (height, width) of its inputs.
        resize: "squash" or "crop".
        normalize: uint8 images -> inputs.
        posthoc: logits -> logits, fitted on validation data.

    Example: see ``restore``.
    """

    model: Classifier
    names: tuple[str, ...]
    size: tuple[int, int]
    resize: str
    normalize: Normalize
    posthoc: Chain


def restore(run: str | Path) -> Restored:
    """The network of a run's best epoch.

    Raises:
        InputError: the folder is not a run, it has no weights yet, or they are of another network.

    Example:
        >>> restore("missing")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: run must be the folder of a run, got missing without config.yaml; ...
    """
    folder = RunFolder(Path(run))
    config = folder.config()
    tensors, meta = load_weights(folder.weights)
    if "classes" not in meta:
        raise InputError(
            f"weights must be those of a run, got {folder.weights} without class names; restore it"
        )
    names = tuple(meta["classes"]["names"])
    model = create_model(
        meta["model"],
        num_classes=len(names),
        head=meta["head"]["name"],
        head_options=meta["head"]["options"],
        architecture=config.architecture.name,
        architecture_options=config.architecture.options,
    )
    load_state(model, tensors, str(folder.weights))
    height, width = meta["size"]
    normalize = Normalize(meta["mean"], meta["std"])
    posthoc = load_chain(config, tuple(meta["classes"]["counts"]), folder.weights.parent)
    return Restored(model.eval(), names, (height, width), config.data.resize, normalize, posthoc)


def load_state(model: nn.Module, tensors: dict[str, Tensor], path: str) -> None:
    """Put weights into a network.

    Raises:
        InputError: they are of another network or another number of classes.

    Example:
        >>> load_state(nn.Linear(2, 2), {}, "w.safetensors")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: weights must fit the network, got w.safetensors: Missing key(s) ...
    """
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
