"""Weights and exact state as safetensors files: nothing is ever unpickled."""

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from tailgrad.checks import InputError, in_range
from tailgrad.engine.learner import Learner
from tailgrad.files import write_with
from tailgrad.untrusted import of_shape, parse_json

Meta = dict[str, Any]
META, CHECKSUM = "tailgrad", "crc32"
COMBINER = "combiner."
"""What the names of an optimiser's tensors begin with that are no state of a parameter."""


def save_weights(path: Path, model: nn.Module, meta: Meta) -> Path:
    """Write a model's state with ``meta`` (class names, counts, configuration) and a checksum in one file.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "weights.safetensors"
        >>> _ = save_weights(path, torch.nn.Linear(2, 2), {"classes": ["a", "b"]})
        >>> load_weights(path)[1]
        {'classes': ['a', 'b']}
    """
    return _save(path, model.state_dict(), meta)


def load_weights(path: Path) -> tuple[dict[str, Tensor], Meta]:
    """The tensors and the meta data of a file.

    Raises:
        InputError: it is missing, is not a safetensors file, or is not as it was written.

    Example:
        >>> load_weights(Path("missing.safetensors"))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: weights must be a readable safetensors file, got missing.safetensors ...
    """
    try:
        with safe_open(path, framework="pt") as file:
            stored = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = stored.get(META, "{}")
        meta: Meta = parse_json(text, nan=True)
        if not isinstance(meta, dict):
            raise ValueError(f"its meta data are {type(meta).__name__}, no object")
        checksum = meta.pop(CHECKSUM, None)
        is_whole = checksum is None or checksum == _checksum(tensors, meta)
    except (OSError, SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"weights must be a readable safetensors file, got {path} ({error}); give the path of a "
            "weights.safetensors"
        ) from error
    if not is_whole:
        raise InputError(
            f"weights must be as they were written, got {path} with another checksum: a disk or a copy has "
            "damaged it; restore the file"
        )
    return tensors, meta


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
    state = learner.optimizer.state_dict()
    numbers = {
        f"{index}.{name}": value
        for index, entry in state["state"].items()
        for name, value in entry.items()
        if not isinstance(value, Tensor)
    }
    meta = {"progress": meta, "groups": state["param_groups"], "numbers": numbers}
    return _save(path, state_tensors(learner), meta, before=previous(path))


def state_tensors(learner: Learner) -> dict[str, Tensor]:
    """The tensors of an exact state, as they are: of the network, the loss and the optimiser.

    Example:
        >>> learner = Learner.plain(torch.nn.Linear(2, 2), torch.nn.CrossEntropyLoss(), lr=0.1)
        >>> sorted(state_tensors(learner))
        ['model.bias', 'model.weight']
    """
    tensors = _named(learner.model.state_dict(), "model.") | _named(learner.loss.state_dict(), "loss.")
    state = learner.optimizer.state_dict()
    for index, entry in state["state"].items():
        kept = {name: value for name, value in entry.items() if isinstance(value, Tensor)}
        tensors |= _named(kept, f"optimizer.{index}.")
    return tensors | _named(state.get("combiner", {}), COMBINER)


def load_last(path: Path, learner: Learner) -> Meta:
    """Put a state written by ``save_last`` back into ``learner``; returns its ``meta``.

    A damaged file that the one before stands in for is removed.

    Raises:
        InputError: the file is missing or damaged, and so is the one before it, or is of another network.

    Example: see ``save_last``.
    """
    tensors, meta = _newest(path, lambda _damaged: _drop(path))
    try:
        learner.model.load_state_dict(_part(tensors, "model."))
        learner.loss.load_state_dict(_part(tensors, "loss."))
        learner.optimizer.load_state_dict(_optimizer_state(tensors, meta))
    except (AttributeError, RuntimeError, TypeError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"checkpoint must fit the network, got {path}: {reason}; resume its own run"
        ) from error
    progress: Meta = meta["progress"]
    return progress


def last_progress(path: Path, say: Callable[[str], None]) -> Meta | None:
    """The ``meta`` that ``load_last`` will return, or None where nothing was saved yet.

    Args:
        path: of ``last.safetensors``.
        say: told of a damaged file that the one before stands in for.

    Raises:
        InputError: what there is cannot be read.

    Example:
        >>> last_progress(Path("missing/last.safetensors"), print) is None
        True
    """
    if not has_last(path):
        return None
    progress: Meta = _newest(path, say)[1]["progress"]
    return progress


def has_last(path: Path) -> bool:
    """Whether ``load_last`` has anything to go on from.

    Example:
        >>> has_last(Path("missing/last.safetensors"))
        False
    """
    return path.exists() or previous(path).exists()


def previous(path: Path) -> Path:
    """Where the state before the last one is kept, for a disk that damages the last.

    Example:
        >>> previous(Path("checkpoint/last.safetensors")).name
        'last.previous.safetensors'
    """
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _newest(path: Path, say: Callable[[str], object] = str) -> tuple[dict[str, Tensor], Meta]:
    """The last state, or the one before where a killed process or a bad disk has left no other."""
    try:
        return _state(path)
    except InputError as error:
        try:
            before = _state(previous(path))
        except InputError:
            raise InputError(
                f"checkpoint: {error}, or remove {path.parent} to train again from the beginning"
            ) from error
        if path.exists():
            say(f"warning: {error}; going on from {previous(path).name}, to the same result")
        return before


def _drop(path: Path) -> None:
    """Take a damaged state away: the next save would put it in the place of the whole one before it."""
    with suppress(OSError):
        path.unlink()


def _state(path: Path) -> tuple[dict[str, Tensor], Meta]:
    tensors, meta = load_weights(path)
    if not {"progress", "groups", "numbers"} <= meta.keys():
        raise InputError(f"checkpoint must hold the state of a training, got {path} without; restore it")
    with of_shape(path, "restore it"):
        _check_progress(meta["progress"])
    return tensors, meta


def _check_progress(progress: Meta) -> None:
    for name in ("epoch", "step", "best_epoch", "done"):
        in_range(name, progress.get(name, 0), 0)
        if not isinstance(progress.get(name, 0), int):
            raise TypeError(f"{name} must be a whole number, got {progress[name]!r}")
    for name in ("held", "random"):
        progress.get(name, {}).items()


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


def _named(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _save(path: Path, tensors: dict[str, Tensor], meta: Meta, before: Path | None = None) -> Path:
    """Write a file; what it replaces stays as ``before``."""
    # Clones: safetensors takes no tensors that share memory.
    on_cpu = {name: value.detach().clone().contiguous().cpu() for name, value in tensors.items()}
    # One key: the library writes several in an order that changes from process to process.
    header = {META: json.dumps(meta | {CHECKSUM: _checksum(on_cpu, meta)})}

    def write(partial: Path) -> None:
        save_file(on_cpu, partial, header)
        if before is not None and path.exists():
            path.replace(before)

    return write_with(path, write)


def save_file(tensors: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    """Write a safetensors file into ``path`` itself.

    The library's function of this name writes a hidden file beside it first, which a killed process leaves.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
        >>> save_file({"a": torch.ones(1)}, path, {})
        >>> load_weights(path)
        ({'a': tensor([1.])}, {})
    """
    path.write_bytes(save(tensors, header))


def _checksum(tensors: dict[str, Tensor], meta: Meta) -> str:
    """CRC-32 over meta data, names, types, shapes and bytes: finds what disks do, not what a forger does."""
    found = zlib.crc32(json.dumps(meta).encode())
    for name in sorted(tensors):
        value = tensors[name]
        found = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), found)
        found = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"
