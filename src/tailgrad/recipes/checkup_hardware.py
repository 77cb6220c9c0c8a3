"""Processors and memory, and how fast this processor is in half precision."""

import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from tailgrad.recipes.checkup_packages import Found
from tailgrad.recipes.jobs import cores, free_memory_gb

_SIDE, _TIMES = 512, 5
_LITTLE_MEMORY, _LITTLE_DISK = 2.0, 2.0
_HALF = ("amx_bf16", "avx512_bf16")


def hardware() -> dict[str, Any]:
    """What there is to compute with.

    Example:
        >>> hardware()["cores"] >= 1
        True
    """
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "threads of torch": torch.get_num_threads(),
        "free memory, GB": round(free_memory_gb(), 1),
        "free disk here, GB": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "bfloat16 instructions": ", ".join(_instructions()) or "none known",
        "speed of bfloat16 over float32": round(bfloat16_gain(), 2),
        "CUDA built into torch": torch.version.cuda or "no",
        "GPUs": _gpus(),
        "NVIDIA driver": "found" if shutil.which("nvidia-smi") else "not found",
    }
    return found | ({"MPS": torch.backends.mps.is_available()} if platform.system() == "Darwin" else {})


def hardware_findings(found: Mapping[str, Any]) -> Iterator[Found]:
    """What will be slow or will not fit.

    Args:
        found: as ``hardware`` gives it.

    Example:
        >>> facts = hardware() | {"free memory, GB": 0.5}
        >>> [what for _, what, _ in hardware_findings(facts) if "memory" in what]
        ['Only 0.5 GB of memory are free.']
    """
    memory, disk = found["free memory, GB"], found["free disk here, GB"]
    if memory < _LITTLE_MEMORY:
        yield (
            "note",
            f"Only {memory} GB of memory are free.",
            "close something, lower train.batch_size, or set data.resident=stream",
        )
    if disk < _LITTLE_DISK:
        yield "note", f"Only {disk} GB are free on this disk.", "make room, or name another with --out"
    if found["GPUs"]:
        return
    if found["NVIDIA driver"] == "found":
        built = found["CUDA built into torch"]
        yield (
            "note",
            f"There is an NVIDIA driver, and torch sees no GPU (CUDA built into torch: {built}).",
            "install the torch made for your CUDA version, and look at CUDA_VISIBLE_DEVICES",
        )
    elif not found.get("MPS"):
        yield "note", "No GPU was found: everything runs on the processor.", "nothing, where that is enough"


def bfloat16_gain() -> float:
    """How many times as fast a product of matrices is in bfloat16 as in float32, on this processor, about.

    Example:
        >>> bfloat16_gain() > 0
        True
    """
    single = torch.ones(_SIDE, _SIDE)
    half = single.bfloat16()
    return _fastest(lambda: single @ single) / _fastest(lambda: half @ half)


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of a few calls, after one that is not timed."""
    call()
    seconds = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return max(min(seconds), 1e-9)


def _instructions() -> list[str]:
    """What Linux says of the processor; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    flags = re.search(r"(?m)^(?:flags|Features)\s*:(.*)$", text)
    return [name for name in _HALF if flags and name in flags[1].split()]


def _gpus() -> list[str]:
    if not torch.cuda.is_available():
        return []
    found = []
    for place in range(torch.cuda.device_count()):
        try:
            free, whole = (size / 1e9 for size in torch.cuda.mem_get_info(place))
        except RuntimeError as error:  # a device that is there and cannot be used
            found.append(f"{torch.cuda.get_device_name(place)}: {str(error).splitlines()[0]}")
            continue
        found.append(f"{torch.cuda.get_device_name(place)}, {free:.1f} of {whole:.1f} GB free")
    return found
