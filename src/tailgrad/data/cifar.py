"""CIFAR-10 and CIFAR-100, complete or long-tailed as the field selects them."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torchvision.datasets as tv
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data.pictures import Pictures
from tailgrad.data.profiles import Profile
from tailgrad.data.source import Source

_TIMEOUT = 30.0


def open_cifar(name: str, root: Path | None = None) -> Source:
    """Open CIFAR-10 or CIFAR-100 through torchvision; fetched where missing.

    torchvision checks the MD5 of each file before it reads it. Training items carry the field's canonical
    rank; the names ending in ``-lt`` carry the exponential profile of imbalance factor 100.

    Args:
        name: ``cifar10``, ``cifar100``, ``cifar10-lt`` or ``cifar100-lt``.
        root: folder of the data; by default the environment variable ``TAILGRAD_DATA``, else
            ``~/.cache/tailgrad``.

    Raises:
        InputError: the data are missing or damaged and could not be fetched.

    Source:
        Krizhevsky 2009; selection of Cao et al. 2019 (LDAM-DRW), see ``canonical_rank``.

    Example:
        >>> open_cifar("cifar10").counts  # fetches 170 MB  # doctest: +SKIP
        (6000, 6000, 6000, 6000, 6000, 6000, 6000, 6000, 6000, 6000)
    """
    folder = root or Path(os.environ.get("TAILGRAD_DATA") or Path.home() / ".cache" / "tailgrad")
    kind = tv.CIFAR100 if name.startswith("cifar100") else tv.CIFAR10
    train = _open_part(kind, folder.expanduser(), train=True)
    test = _open_part(kind, folder.expanduser(), train=False)
    labels = np.array([*train.targets, *test.targets], dtype=np.int64)
    rank = np.full(len(labels), -1, dtype=np.int64)
    rank[: len(train.targets)] = canonical_rank(labels[: len(train.targets)])
    return Source(
        name=name,
        items=Pictures(np.concatenate([train.data, test.data])),
        labels=labels,
        class_names=tuple(train.classes),
        given=("train",) * len(train.targets) + ("test",) * len(test.targets),
        rank=rank,
        regime="plain-200",
        profile=Profile("exponential", 100) if name.endswith("-lt") else None,
    )


def canonical_rank(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each image's place within its class after the field's standard shuffle, [N].

    NumPy's legacy generator, seed 0; classes in order, the positions of each class shuffled in turn.

    Source:
        ``imbalance_cifar.py`` of LDAM-DRW (Cao et al. 2019), with a generator of its own in place of the
        global one.

    Example:
        >>> canonical_rank(np.array([0, 1, 0, 1, 0])).tolist()
        [2, 0, 1, 1, 0]
    """
    generator = np.random.RandomState(0)
    rank = np.empty(len(labels), dtype=np.int64)
    for k in np.unique(labels):
        members = np.flatnonzero(labels == k)
        generator.shuffle(members)
        rank[members] = np.arange(len(members))
    return rank


def _open_part(kind: Any, folder: Path, train: bool) -> Any:
    try:
        return kind(folder, train=train, download=False)
    except (RuntimeError, OSError):
        pass  # missing or damaged: fetch it
    try:
        with _time_limit():
            return kind(folder, train=train, download=True)
    except Exception as error:  # the network, the archive and the disk can each fail in many ways
        raise InputError(
            f"{kind.__name__} must be at hand or be fetched, got: {type(error).__name__}: {error}; put "
            f"{kind.filename} (from {kind.url}) into {str(folder)!r} and call again, or name the folder that "
            "has it with data.root or the environment variable TAILGRAD_DATA"
        ) from error


@contextmanager
def _time_limit() -> Iterator[None]:
    """A limit where torchvision sets none: a network that swallows packets would hang."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
