"""Where decoded images live: on the GPU, in memory, or nowhere."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, cast

import torch

from tailgrad.checks import InputError, one_of

Residence = Literal["device", "memory", "stream"]
"""On the GPU; in the machine's memory; decoded while training."""

_OF_DEVICE, _OF_MEMORY = 0.4, 0.5
_CONTAINERS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.stat", "anon"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.stat", "total_rss"),
)


def _silent(_: str) -> None:
    """Say nothing."""


def choose_residence(
    wanted: str,
    bytes_needed: int,
    *,
    memory_limit_bytes: float,
    device_free_bytes: int | None,
    available_bytes: int | None = None,
    say: Callable[[str], None] = _silent,
) -> Residence:
    """Decide where decoded images live.

    ``auto`` takes the GPU where they fill at most 40 % of its free memory, else the machine's memory where
    they stay within ``memory_limit_bytes`` and half of what is available, else none. A limit of 0 keeps them
    nowhere. What is asked for by name is refused only where it cannot be.

    Args:
        wanted: "auto", "device", "memory" or "stream".
        bytes_needed: of all decoded images.
        memory_limit_bytes: most that ``auto`` puts into the machine's memory.
        device_free_bytes: free memory of the GPU that trains; None where none does.
        available_bytes: memory that the machine can still give; None looks (``available_memory``).
        say: told of the choice and why.

    Raises:
        InputError: an unknown wish; ``device`` without a GPU; images that do not fit where they are wanted.

    Example:
        >>> choose_residence("auto", 10**8, memory_limit_bytes=4e9, device_free_bytes=None, say=print)
        decoded images (0.10 GB) live in memory: within data.resident_gb=4 and half of what is free
        'memory'
        >>> choose_residence("auto", 10**8, memory_limit_bytes=4e9, device_free_bytes=10**9)
        'device'
    """
    one_of("data.resident", wanted, ("auto", "device", "memory", "stream"))
    free = available_memory() if available_bytes is None else available_bytes
    room = _Room(bytes_needed, memory_limit_bytes, free, device_free_bytes)
    where, why = room.by_size() if wanted == "auto" else (wanted, "as data.resident asks")
    room.check(cast("Residence", where))
    text = {"device": "live on the GPU", "memory": "live in memory", "stream": "are decoded while training"}
    say(f"decoded images ({_gigabytes(bytes_needed)}) {text[where]}: {why}")
    return cast("Residence", where)


class _Room(NamedTuple):
    needed: int
    limit: float
    available: int
    device: int | None

    def by_size(self) -> tuple[Residence, str]:
        if self.limit == 0:
            return "stream", "data.resident_gb is 0"
        if self.device is not None and self.needed <= _OF_DEVICE * self.device:
            return "device", f"at most {_OF_DEVICE:.0%} of its free {_gigabytes(self.device)}"
        if self.needed > self.limit:
            return "stream", f"more than data.resident_gb={self.limit / 1e9:g}"
        if self.needed > _OF_MEMORY * self.available:
            return "stream", f"more than half of the {_gigabytes(self.available)} of memory that are free"
        return "memory", f"within data.resident_gb={self.limit / 1e9:g} and half of what is free"

    def check(self, where: Residence) -> None:
        if where == "device" and self.device is None:
            raise InputError(
                "data.resident must be auto, memory or stream where no GPU trains, got device; "
                "set data.resident=auto"
            )
        if where == "stream":
            return
        name, free = ("GPU", self.device or 0) if where == "device" else ("machine", self.available)
        if self.needed > free:
            raise InputError(
                f"data.resident={where} must leave the images room, got {_gigabytes(self.needed)} for "
                f"{_gigabytes(free)} of free memory of the {name}; set data.resident=auto or data.size"
            )


def device_free_bytes(device: torch.device) -> int | None:
    """Free memory of a GPU; None for the CPU.

    Example:
        >>> device_free_bytes(torch.device("cpu")) is None
        True
    """
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def available_memory() -> int:
    """Bytes that this process may still take: what the system has available, within its container's limit.

    Example:
        >>> available_memory() > 0
        True
    """
    return max(0, min([_of_system(), *(_of_container(*paths) for paths in _CONTAINERS)]))


def _of_system() -> int:
    try:
        return _field(Path("/proc/meminfo"), "MemAvailable:") * 1024
    except (OSError, ValueError, KeyError):  # another system: half of all there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _of_container(limit: str, used: str, name: str) -> int:
    # What the page cache holds counts as used there, but is given back when it is needed.
    try:
        return int(Path(limit).read_text()) - _field(Path(used), name)
    except (OSError, ValueError, KeyError):  # no such file, or "max"
        return 2**63


def _field(path: Path, name: str) -> int:
    rows = (line.split() for line in path.read_text().splitlines())
    return int({row[0]: row[1] for row in rows if len(row) > 1}[name])


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number < 1e10 else f"{number / 1e9:.0f} GB"
