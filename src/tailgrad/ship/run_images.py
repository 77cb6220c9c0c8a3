"""Images of a run as its network takes them, where its data are still at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data import Source, UnreadableImage
from tailgrad.data.resize import resize
from tailgrad.data.source import load_for
from tailgrad.recipes.config import Config
from tailgrad.recipes.prepare import open_config
from tailgrad.recipes.restore import Restored
from tailgrad.recipes.run_folder import RunFolder, read_json
from tailgrad.untrusted import of_shape


@dataclass(frozen=True)
class Pictures:
    """Images of a run, resized and not normalised.

    Args:
        pixels: uint8 [N, 3, H, W].
        target: class of each [N], or zeros and ones [N, L] of several labels.

    Example:
        >>> len(Pictures(np.zeros((2, 3, 8, 8), np.uint8), np.zeros(2, np.int64)))
        2
    """

    pixels: NDArray[np.uint8]
    target: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)


def run_images(folder: RunFolder, network: Restored, part: str, most: int) -> Pictures:
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
    source = _source(folder.config())
    names, labels = _listed(folder, part)
    places = {_storable(source.items.name(i)): i for i in range(len(source.items))}
    there = [(places[name], label) for name, label in zip(names, labels, strict=True) if name in places]
    chosen = [there[i] for i in np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).astype(int))]
    pixels, target = [], []
    for place, label in chosen if there else ():
        try:
            pixels.append(resize(load_for(source.items, place, network.size), network.size, network.resize))
        except UnreadableImage:
            continue
        target.append(label)
    if not pixels:
        raise InputError(
            f"images of {folder.path} must be at hand, got none of its {part} images in {source.name}"
        )
    images = np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2))
    if source.indicators is not None:
        return Pictures(images, np.stack([_marked(one, source.num_classes) for one in target]))
    return Pictures(images, np.array(target, np.int64))


def _marked(labels: Sequence[int], of: int) -> NDArray[np.int64]:
    """Zeros and ones [L]."""
    found = np.zeros(of, np.int64)
    found[list(labels)] = 1
    return found


def _listed(folder: RunFolder, part: str) -> tuple[Sequence[str], Sequence[Any]]:
    """Names, and of each the class or the list of its labels."""
    path = folder.path / "split.json"
    with of_shape(path):
        found: Any = read_json(path)["parts"][part]
        labels = [one if isinstance(one, list) else int(one) for one in found["labels"]]
        return list(map(str, found["names"])), labels


def _source(config: Config) -> Source:
    """The source that the configuration names; nothing is fetched for it."""
    named = config.source
    if named != "digits-lt" and not Path(named).expanduser().exists():
        raise InputError(
            f"images of the run must be at hand, got {named!r}, which is not here; export where the data are"
        )
    return open_config(config)


def _storable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
