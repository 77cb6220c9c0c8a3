"""Whether ONNX Runtime computes what PyTorch does."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.recipes.restore import Restored
from tailgrad.ship.artefact import session
from tailgrad.ship.deployed_rows import as_rows
from tailgrad.ship.feed import IMAGES, Feed, batches, length, part
from tailgrad.types import Inputs

TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest logit where that is above 1."""
_BATCH = 64


@dataclass(frozen=True)
class Agreement:
    """The largest differences between two ways to compute the same logits.

    Args:
        difference: of a logit, relative to the largest where that is above 1.
        images: number of images or rows compared.
        source: what these were.

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


def torch_logits(network: Restored, feed: Feed) -> NDArray[np.float32]:
    """Logits [N, K] of the network as it was trained, on pixels uint8 [N, 3, H, W] or encoded rows.

    Example: see ``ship.export``.
    """
    with torch.no_grad():
        parts = [network.model(_inputs(network, some)) for some in batches(feed, _BATCH)]
        logits: Tensor = torch.cat(parts)
        if len(network.posthoc.steps):
            logits = network.posthoc.transform(logits)
    found: NDArray[np.float32] = logits.float().numpy()
    return found


def _inputs(network: Restored, feed: Feed) -> Inputs:
    tensors = {name: torch.from_numpy(values) for name, values in feed.items()}
    return network.normalize(tensors[IMAGES]) if IMAGES in tensors else as_rows(tensors)


def onnx_logits(model: bytes, feed: Feed) -> NDArray[np.float32]:
    """Logits [N, K] of a serialised model, by ONNX Runtime.

    Example: see ``ship.export``.
    """
    made = session(model, "the exported model", threads=0)
    return np.concatenate([made.run(["logits"], some)[0] for some in batches(feed, _BATCH)])


def agreement(model: bytes, network: Restored, feed: Feed, source: str = "random images") -> Agreement:
    """Compare all examples together and the first alone, so that a fixed number of them is found too.

    Args:
        model: serialised ONNX.
        network: what it was made of.
        feed: pixels uint8 [N, 3, H, W], or encoded rows.
        source: what they are.

    Returns:
        An infinite difference where ONNX Runtime refuses the model.

    Example: see ``ship.export``.
    """
    wanted = torch_logits(network, feed)
    try:
        found = onnx_logits(model, feed)
        alone = onnx_logits(model, part(feed, 0, 1))
    except Exception:  # no graph for ONNX Runtime, or one for two examples alone
        return Agreement(float("inf"), length(feed), source)
    scale = max(1.0, float(np.abs(wanted).max()))
    difference = max(float(np.abs(found - wanted).max()), float(np.abs(alone - wanted[:1]).max()))
    return Agreement(difference / scale, length(feed), source)
