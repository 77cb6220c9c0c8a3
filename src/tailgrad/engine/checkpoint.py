"""Weights and exact state as safetensors files: nothing is ever unpickled."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.engine.learner import Learner
from tailgrad.files import write_with

Meta = dict[str, Any]
COMBINER = "combiner."
"""What the names of an optimiser's tensors begin with that are no state of a parameter."""


def save_weights(path: Path, model: nn.Module, meta: Meta) -> Path:
    """Write a model's state with ``meta`` (class names, counts, configuration) in the same file.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "weights.safetensors"
        >>> _ = save_weights(path, torch.nn.Linear(2, 2), {"classes": ["a", "b"]})
        >>> load_weights(path)[1]
        {'classes': ['a', 'b']}
    """
    return _save(path, _own(model.state_dict()), meta)


def load_weights(path: Path) -> tuple[dict[str, Tensor], Meta]:
    """The tensors and the meta data of a file.

    Raises:
        InputError: it is missing or is not a safetensors file.

    Example:
        >>> load_weights(Path("missing.safetensors"))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: weights must be a readable safetensors file, got missing.safetensors ...
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = (file.metadata() or {}).get("tailgrad", "{}")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(meta)  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"weights must be a readable safetensors file, got {path} ({error}); give the path of a "
            "weights.safetensors"
        ) from error


def save_last(path: Path, learner: Learner, meta: Meta) -> Path:
    """Write everything an exact resume needs in one file: model, loss and optimiser state, and ``meta``.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> learner = Learner.plain(torch.nn.Linear(2, 2), torch.nn.CrossEntropyLoss(), lr=0.1)
        >>> path = save_last(Path(tempfile.mkdtemp()) / "last.safetensors", learner, {"epoch": 3})
        >>> load_last(path, learner)
        {'epoch': 3}
    """
    tensors = _own(learner.model.state_dict(), "model.") | _own(learner.loss.state_dict(), "loss.")
    state = learner.optimizer.state_dict()
    numbers: dict[str, Any] = {}
    for index, entry in state["state"].items():
        for name, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value.detach().clone().contiguous()
            else:
                numbers[f"{index}.{name}"] = value
    tensors |= _own(state.get("combiner", {}), COMBINER)
    return _save(path, tensors, {"progress": meta, "groups": state["param_groups"], "numbers": numbers})


def load_last(path: Path, learner: Learner) -> Meta:
    """Put a state written by ``save_last`` back into ``learner``; returns its ``meta``.

    Raises:
        InputError: the file is missing, damaged or of another network.

    Example: see ``save_last``.
    """
    tensors, meta = load_weights(path)
    try:
        learner.model.load_state_dict(_part(tensors, "model."))
        learner.loss.load_state_dict(_part(tensors, "loss."))
        learner.optimizer.load_state_dict(_optimizer_state(tensors, meta))
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"checkpoint must fit the network, got {path}: {reason}; resume its own run"
        ) from error
    progress: Meta = meta["progress"]
    return progress


def _optimizer_state(tensors: dict[str, Tensor], meta: Meta) -> Meta:
    state: dict[int, dict[str, Any]] = {}
    for key, value in (_part(tensors, "optimizer.") | meta["numbers"]).items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = [
        {k: tuple(v) if isinstance(v, list) and k == "betas" else v for k, v in g.items()}
        for g in meta["groups"]
    ]
    combiner = _part(tensors, COMBINER)
    return {"state": state, "param_groups": groups} | ({"combiner": combiner} if combiner else {})


def _own(state: dict[str, Any], prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: value.detach().clone().contiguous() for name, value in state.items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _save(path: Path, tensors: dict[str, Tensor], meta: Meta) -> Path:
    on_cpu = {name: value.cpu() for name, value in tensors.items()}

    def write(partial: Path) -> None:
        try:
            save_file(on_cpu, partial, {"tailgrad": json.dumps(meta)})
        except SafetensorError as error:
            raise OSError(f"{error}") from error

    return write_with(path, write)
