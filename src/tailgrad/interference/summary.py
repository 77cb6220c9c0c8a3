"""A measurement in a few plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tailgrad.interference.result import Interference, Pair

_PAIRS = 3
_NAME = 40  # longer class names are cut, so that one cannot drown the sentence


def summarise(result: Interference) -> str:
    """Sentences on what was measured, the worst pairs beyond the null, and what may not be concluded.

    Example:
        >>> import torch
        >>> from tailgrad.interference import measure
        >>> result = measure(torch.nn.Linear(4, 4), [(torch.eye(4), torch.arange(4))], "all")
        >>> summarise(result).splitlines()[0]
        "Mean gradients of 4 classes compared over 4 examples (1 to 1 a class), parameters 'all'."
    """
    seen = result.counts[result.counts > 0]
    lines = [
        f"Mean gradients of {len(result.class_names)} classes compared over {seen.sum()} examples "
        f"({seen.min()} to {seen.max()} a class), parameters {result.primary!r}."
    ]
    pairs = result.worst_pairs(_PAIRS, by="excess")
    if pairs:
        lines.append(
            f"Mean conflict (cosine) {result.mean:+.3f}; softmax competition and class prior alone give "
            f"{result.mean_null:+.3f}, so the excess is {result.mean_excess:+.3f}."
        )
        lines.append(f"Most opposed beyond that null: {'; '.join(map(_words, pairs))}.")
    blank = np.isnan(np.diagonal(result.conflict))
    if blank.any():
        names = ", ".join(
            _short(name) for name, is_blank in zip(result.class_names, blank, strict=True) if is_blank
        )
        lines.append(f"Not measurable, for want of examples or of any gradient: {names}.")
    lines.append(
        "These figures carry no interval: the gradient of a class with few examples is noisy, which draws "
        "its cosines towards 0."
    )
    lines.append(
        "Conflict at convergence on training data is never evidence by itself; set held-out data, an early "
        "checkpoint and a class-balanced subset beside it."
    )
    return "\n".join(lines)


def _words(pair: Pair) -> str:
    return (
        f"{_short(pair.first)} and {_short(pair.second)} {pair.conflict:+.2f} "
        f"(null {pair.null:+.2f}, excess {pair.excess:+.2f})"
    )


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."
