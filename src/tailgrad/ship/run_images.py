"""Images of a run as its network takes them, where its data are still at hand."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tailgrad.data import UnreadableImage
from tailgrad.data.resize import resize
from tailgrad.data.source import load_for
from tailgrad.recipes.restore import Restored
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.ship.examples import Examples
from tailgrad.ship.feed import IMAGES
from tailgrad.ship.run_part import nothing_left, places, source_of


def run_images(folder: RunFolder, network: Restored, part: str, most: int) -> Examples:
    """Up to ``most`` images of a part of a run, evenly spread; those that cannot be read are left out.

    Args:
        folder: of a finished run.
        network: says the size.
        part: ``"train"``, ``"val"`` or ``"test"``.
        most: number of images.

    Raises:
        InputError: the data are not at hand, or no image of the part is there.

    Example: see ``ship.export``.
    """
    source = source_of(folder.config(), "images")
    pixels, target = [], []
    for place, label in places(folder, source, part, most):
        try:
            pixels.append(resize(load_for(source.items, place, network.size), network.size, network.resize))
        except UnreadableImage:
            continue
        target.append(label)
    if not pixels:
        raise nothing_left(folder, source, part)
    feed = {IMAGES: np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2))}
    if source.indicators is not None:
        return Examples(feed, np.stack([_marked(one, source.num_classes) for one in target]))
    return Examples(feed, np.array(target, np.int64))


def _marked(labels: Sequence[int], of: int) -> NDArray[np.int64]:
    """Zeros and ones [L]."""
    found = np.zeros(of, np.int64)
    found[list(labels)] = 1
    return found
