"""Data that are split and ready to be read in batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.augment import Normalize
from tailgrad.checks import one_of
from tailgrad.data import Source, Split
from tailgrad.data.reading import PassedOver, Reading
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.data.streaming_loader import StreamingLoader
from tailgrad.data.table_encoding import TableEncoding
from tailgrad.recipes.config import DataConfig
from tailgrad.recipes.row_parts import Unchanged, joined
from tailgrad.types import ClassInfo, Inputs

PARTS = ("train", "val", "test")
_LOOKED_AT = 4096


@dataclass
class Prepared:
    """A source, split and ready to be read in batches.

    Args:
        source: the items in use (a long-tail profile has been applied).
        split: their parts.
        size: (height, width) given to the network; of a table numeric columns and columns of categories.
        classes: names and training counts.
        own_test: whether the source brought its test set.
        images: decoded uint8 images (or encoded rows of a table) by part, or None where they are decoded
            while training.
        data: the data section of the configuration.
        reading: how images are decoded while training, and those that could not be.
        wrong_labels: training labels that were replaced on purpose.
        encoding: how the columns of a table are encoded; None for images.
        made: rows, targets and positions (-1 for a row that was made) to train on in place of the training
            part, where rows of a table were resampled.

    Example:
        >>> from tailgrad.recipes.compose import compose
        >>> from tailgrad.recipes.prepare import prepare
        >>> prepared = prepare(compose("digits-lt", "digits", "baseline"))
        >>> prepared.size, prepared.own_test
        ((32, 32), True)
    """

    source: Source
    split: Split
    size: tuple[int, int]
    classes: ClassInfo
    own_test: bool
    images: Mapping[str, Any] | None
    data: DataConfig
    reading: Reading = field(default_factory=Reading)
    wrong_labels: int = 0
    encoding: TableEncoding | None = None
    made: tuple[Inputs, Tensor, Tensor] | None = None

    def for_run(self) -> "Prepared":
        """The same data for one run of several, which counts for itself what it cannot read."""
        return replace(self, reading=replace(self.reading, passed_over=PassedOver()))

    def index(self, part: str) -> NDArray[np.int64]:
        """Positions of a part in the source."""
        found: NDArray[np.int64] = getattr(self.split, one_of("part", part, PARTS))
        return found

    def validation_images(self, name: str) -> int:
        """Validation images of a class."""
        labels = self.source.labels[self.split.val]
        return int((labels == self.classes.names.index(name)).sum())

    def loader(self, part: str, batch_size: int, seed: int | None = None) -> Any:
        """Batches of a part: shuffled by (seed, epoch), or in order without a seed."""
        if self.made is not None and part == "train" and seed is not None:
            return ResidentLoader(*self.made, batch_size=batch_size, seed=seed)
        return self._loader((part,), batch_size, seed)

    def mixed(self, parts: tuple[str, ...], batch_size: int) -> Any:
        """Batches of several parts in one fixed random order: the first n of a class are then any n of it."""
        return self._loader(parts, batch_size, 0)

    def _loader(self, parts: tuple[str, ...], batch_size: int, seed: int | None) -> Any:
        index = np.concatenate([self.index(part) for part in parts])
        if self.images is None:
            return self._streamed(index, batch_size, seed)
        target = torch.as_tensor(self.source.target(index))
        images = self.images[parts[0]] if len(parts) == 1 else joined([self.images[p] for p in parts])
        return ResidentLoader(images, target, torch.as_tensor(index), batch_size=batch_size, seed=seed)

    def _streamed(self, index: NDArray[np.int64], batch_size: int, seed: int | None) -> StreamingLoader:
        return StreamingLoader(
            self.source,
            index,
            self.size,
            batch_size=batch_size,
            mode=self.data.resize,
            seed=seed,
            reading=self.reading,
        )

    @property
    def training_labels(self) -> NDArray[np.int64]:
        """Class of every example trained on, rows that resampling made included."""
        if self.made is not None:
            return np.asarray(self.made[1])
        return self.source.labels[self.split.train]

    @property
    def columns(self) -> dict[str, Any]:
        """Arguments of a backbone that come from the data: the columns of a table, nothing for images."""
        return {} if self.encoding is None else self.encoding.columns

    def normalize(self) -> Any:
        """Channel means and deviations of the training images, the same wherever they live.

        Above 4,096 images, of as many or somewhat more that lie evenly among them. Rows of a table stay as
        they are: they were standardised when they were encoded.
        """
        if self.encoding is not None:
            return Unchanged()
        if self.images is not None:
            return Normalize.of(self.images["train"], _LOOKED_AT)
        train = self.index("train")
        some = self._streamed(train[:: max(1, len(train) // _LOOKED_AT)], 64, None)
        return Normalize.over(cast("Tensor", batch.inputs) for batch in some)

    def name(self, i: int) -> str:
        """File or row name of item i, as text that every file format can hold."""
        if i < 0:
            return "a row that resampling made"
        return self.source.items.name(i).encode("utf-8", "backslashreplace").decode()
