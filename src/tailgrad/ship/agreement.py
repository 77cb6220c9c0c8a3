"""Whether ONNX Runtime computes what PyTorch does."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.recipes.restore import Restored
from tailgrad.ship.artefact import session

TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest logit where that is above 1."""
_BATCH = 64


@dataclass(frozen=True)
class Agreement:
    """The largest differences between two ways to compute the same logits.

    Args:
        difference: of a logit, relative to the largest where that is above 1.
        images: number compared.
        source: what the images were.

    Example:
        >>> Agreement(2e-6, 64, "held-out images of the run").fine
        True
    """

    difference: float
    images: int
    source: str

    @property
    def fine(self) -> bool:
        """Whether the difference is within ``TOLERANCE``."""
        return self.difference <= TOLERANCE  # False for NaN


def torch_logits(network: Restored, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits [N, K] of the network as it was trained, on pixels uint8 [N, 3, H, W].

    Example: see ``ship.export``.
    """
    with torch.no_grad():
        parts = [
            network.model(network.normalize(torch.from_numpy(images[start : start + _BATCH])))
            for start in range(0, len(images), _BATCH)
        ]
        logits: Tensor = torch.cat(parts)
        if len(network.posthoc.steps):
            logits = network.posthoc.transform(logits)
    found: NDArray[np.float32] = logits.float().numpy()
    return found


def onnx_logits(model: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits [N, K] of a serialised model, by ONNX Runtime.

    Example: see ``ship.export``.
    """
    made = session(model, "the exported model", threads=0)
    parts = [
        made.run(["logits"], {"images": images[start : start + _BATCH]})[0]
        for start in range(0, len(images), _BATCH)
    ]
    return np.concatenate(parts)


def agreement(
    model: bytes, network: Restored, images: NDArray[np.uint8], source: str = "random images"
) -> Agreement:
    """Compare all images together and the first alone, so that a fixed number of images is found too.

    Args:
        model: serialised ONNX.
        network: what it was made of.
        images: uint8 [N, 3, H, W].
        source: what they are.

    Returns:
        An infinite difference where ONNX Runtime refuses the model.

    Example: see ``ship.export``.
    """
    wanted = torch_logits(network, images)
    try:
        found = onnx_logits(model, images)
        alone = onnx_logits(model, images[:1])
    except Exception:  # no graph for ONNX Runtime, or one for two images alone
        return Agreement(float("inf"), len(images), source)
    scale = max(1.0, float(np.abs(wanted).max()))
    difference = max(float(np.abs(found - wanted).max()), float(np.abs(alone - wanted[:1]).max()))
    return Agreement(difference / scale, len(images), source)
