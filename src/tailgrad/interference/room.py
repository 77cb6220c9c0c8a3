"""Whether class gradients fit into memory, and what to do where they do not."""

import os

import torch

from tailgrad.checks import InputError

MAX_MATRIX = 2000
"""Classes up to which [K, K] arrays are kept."""

SKETCH = 4096
_LEAST = 64


def choose_sketch(sketch: int | None, num_classes: int, numbers: int, device: torch.device) -> int:
    """Numbers to keep of each class gradient; 0 keeps them exact.

    Args:
        sketch: what was asked for: at least 64, 0 for exact, None to decide.
        num_classes: K.
        numbers: P, parameters measured.
        device: where the gradients are kept.

    Raises:
        InputError: a sketch below 64, or exact gradients that would take over 60 % of the free memory.

    Example:
        >>> [choose_sketch(None, num_classes, 1000, torch.device("cpu")) for num_classes in (10, 3000)]
        [0, 4096]
    """
    if sketch is not None and sketch != 0 and (not isinstance(sketch, int) or sketch < _LEAST):
        raise InputError(
            f"sketch must be at least {_LEAST} numbers, or 0 for exact gradients, got {sketch}; "
            "the error of a cosine is about 1 / sqrt(sketch)"
        )
    if sketch:
        return sketch
    needed, there = 4 * num_classes * numbers, _free(device)
    if sketch is None:
        return SKETCH if num_classes > MAX_MATRIX or needed > 0.25 * there else 0
    if needed > 0.6 * there:
        raise InputError(
            f"class gradients must fit into memory, got {num_classes} classes in {needed / 1e9:.1f} GB of "
            f"{there / 1e9:.1f} GB; leave sketch at None, or measure fewer parameters"
        )
    return 0


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return max(
        os.sysconf("SC_PAGE_SIZE") * os.sysconf(pages),
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2,
    )
