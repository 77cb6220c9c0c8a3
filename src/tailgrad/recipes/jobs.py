"""How many runs fit side by side on this machine, and why."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError

DUPLICATES = "duplicates.npy"
"""File in the folder of the tasks that every process reads, so that one of them searches."""

_GROUPS, _OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

MOST_ON_A_GPU = 8
"""Beyond that the runs only wait for one another: a GPU works on one process at a time."""


@dataclass(frozen=True)
class Room:
    """What a machine has, and what one run needs of it.

    Args:
        cores: of the CPU, that this process may use.
        memory_gb: free memory.
        run_gb: memory that one run took in a short trial.
        gpu_gb: memory of the GPU, 0 without one.
        gpu_run_gb: memory of the GPU that one run took.

    Example:
        >>> Room(cores=4, memory_gb=8, run_gb=1).gpu_gb
        0.0
    """

    cores: int
    memory_gb: float
    run_gb: float
    gpu_gb: float = 0.0
    gpu_run_gb: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Share:
    """What every run gets.

    Args:
        jobs: runs at once.
        threads: of the CPU for each.
        gpu: part of the GPU's memory that each may take, in (0, 1].
        why: in words.

    Example:
        >>> Share(jobs=2, threads=1).gpu
        1.0
    """

    jobs: int
    threads: int
    gpu: float = 1.0
    why: str = ""


def divide(wanted: int | str, runs: int, room: Room, threads: int | None = None) -> Share:
    """Divide a machine among runs: ``auto`` is as many as memory and cores allow.

    One thread a run is the best use of cores that several small runs share, so the cores left over are
    divided among the runs only where there are fewer runs than cores.

    Args:
        wanted: number of jobs, or "auto".
        runs: how many there are to do.
        room: what there is.
        threads: of each run, where that is fixed already.

    Example:
        >>> divide("auto", 20, Room(cores=8, memory_gb=10, run_gb=2)).jobs
        5
        >>> divide("auto", 2, Room(cores=8, memory_gb=10, run_gb=2)).threads
        4
    """
    limits = _limits(runs, room, threads)
    if wanted == "auto":
        reason = min(limits, key=lambda name: limits[name])
        jobs = max(1, limits[reason])
        why = f"{jobs} at a time, as {reason} allow{'s' if reason.endswith('memory') else ''}"
    else:
        jobs, why = min(int(wanted), runs), f"{min(int(wanted), runs)} at a time"
    own = threads or max(1, room.cores // jobs)
    each = f"{own} thread{'s'[: own - 1]} and {_needs(room)} each"
    return Share(jobs, own, 1 / jobs if room.gpu_gb else 1.0, f"{why}; {each}{_warning(jobs, own, room)}")


def _limits(runs: int, room: Room, threads: int | None) -> dict[str, int]:
    limits = {
        f"{runs} run{'s'[: runs - 1]}": runs,
        f"{room.cores} cores": max(1, room.cores // (threads or 1)),
        f"{room.memory_gb:.1f} GB of free memory": int(room.memory_gb / room.run_gb),
    }
    if room.gpu_gb:
        limits[f"{room.gpu_gb:.1f} GB of GPU memory"] = int(room.gpu_gb / room.gpu_run_gb)
        limits["one GPU's time slices"] = MOST_ON_A_GPU
        del limits[f"{room.cores} cores"]
    return limits


def _needs(room: Room) -> str:
    gpu = f", {room.gpu_run_gb:.1f} GB of the GPU's" if room.gpu_gb else ""
    return f"about {room.run_gb:.1f} GB of memory{gpu}"


def _warning(jobs: int, threads: int, room: Room) -> str:
    if jobs > 1 and jobs * room.run_gb > room.memory_gb:
        return f"; warning: only {room.memory_gb:.1f} GB of memory are free"
    if jobs > 1 and jobs * threads > room.cores:
        return f"; warning: {jobs * threads} threads share {room.cores} cores"
    return ""


def cores() -> int:
    """Cores that this process may use.

    Example:
        >>> 1 <= cores() <= os.cpu_count()
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory_gb() -> float:
    """Memory that may still be taken: the machine's, or a container's where that is less.

    Example:
        >>> free_memory_gb() > 0
        True
    """
    return max(min([_machine_free(), *_groups_free()]), 0) / 1e9


def _groups_free() -> Iterator[float]:
    """What is left to each control group that holds this process: a container, a job of SLURM."""
    found = [line[len("0::/") :].strip() for line in _lines(_OWN_GROUP) if line.startswith("0::/")]
    own = Path(*found[:1])
    for place in (own, *own.parents):
        group = _GROUPS / place
        limit, used = (_number(group / name) for name in ("memory.max", "memory.current"))
        if limit is not None and used is not None:
            yield limit - used + _files_that_may_go(group)


def _files_that_may_go(group: Path) -> float:
    """Copies of files in memory, which count as used until the memory is wanted."""
    counts = dict(line.split() for line in _lines(group / "memory.stat"))
    return float(counts.get("inactive_file", 0))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _machine_free() -> float:
    available = _kilobytes(Path("/proc/meminfo"), "MemAvailable")
    if available is None:  # no Linux: all of it, of which others may use some
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return available * 1024


def _kilobytes(path: Path, name: str) -> float | None:
    """A figure of one of Linux's tables; None elsewhere."""
    found = (line.split()[1] for line in _lines(path) if line.startswith(f"{name}:"))
    return next(map(float, found), None)


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not in a container, or without a limit: "max"
        return None


def peak_memory_gb() -> float:
    """Most memory that this process has had so far.

    Example:
        >>> peak_memory_gb() > 0.01
        True
    """
    own = _kilobytes(Path("/proc/self/status"), "VmHWM")
    if own is not None:  # what follows counts what the process had that started this one
        return own * 1024 / 1e9
    import resource  # not on every system

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def check_jobs(jobs: int | str) -> int | str:
    """The number of jobs, or "auto".

    Raises:
        InputError: it is neither, or below 1.

    Example:
        >>> check_jobs("4"), check_jobs("auto")
        (4, 'auto')
    """
    if jobs == "auto":
        return "auto"
    try:
        number = int(jobs)
    except (TypeError, ValueError):
        number = 0
    if number < 1 or isinstance(jobs, bool | float):
        raise InputError(f"jobs must be a whole number of at least 1, or auto, got {jobs!r}; give --jobs 2")
    return number


def room_of(content: Mapping[str, Any]) -> Room:
    """A room from JSON.

    Example:
        >>> room_of(Room(2, 8.0, 1.0).to_dict()) == Room(2, 8.0, 1.0)
        True
    """
    return Room(**content)
