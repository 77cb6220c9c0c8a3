"""From a source and a configuration to split, decoded, normalised data that every method shares."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.augment import Normalize
from tailgrad.checks import InputError, one_of
from tailgrad.data import (
    Profile,
    Source,
    Split,
    choose,
    default_size,
    duplicate_groups,
    load_images,
    longtail,
    make_split,
    open_source,
)
from tailgrad.data.label_lists import LabelLists
from tailgrad.data.label_noise import noisy_labels
from tailgrad.data.reading import PassedOver, Reading
from tailgrad.data.residence import choose_residence, device_free_bytes
from tailgrad.data.resident_loader import ResidentLoader
from tailgrad.data.streaming_loader import StreamingLoader
from tailgrad.data.table import rows_of
from tailgrad.data.table_encoding import TableEncoding
from tailgrad.data.table_options import TableOptions
from tailgrad.recipes.assemble import device_of, needed_size
from tailgrad.recipes.config import Config, DataConfig
from tailgrad.recipes.row_parts import Unchanged, encoded_parts, joined
from tailgrad.recipes.task import task_of
from tailgrad.recipes.waiting import Told, counting
from tailgrad.types import ClassInfo, Inputs

Say = Callable[[str], None]
PARTS = ("train", "val", "test")
MANY = 50_000
"""Images above which copies are looked for without decoding, unless near duplicates are wanted as well."""
FEW_IN_FOCUS = 10
"""Validation images of a class in focus under which its F1 does not choose the epoch."""

_LOOKED_AT = 4096


def _silent(_: str) -> None:
    """Say nothing."""


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


def open_config(config: Config, given: Any = None) -> Source:
    """The source that a configuration names, or the Python object ``given`` in its place.

    Example:
        >>> open_config(Config(source="digits-lt")).num_classes
        10
    """
    data = config.data
    several = LabelLists(
        data.labels_column, data.label_separator, data.label_columns, data.drop_labels, data.unlabelled
    )
    return open_source(
        config.source if given is None else given,
        root=config.data.root,
        image_column=config.data.image_column,
        label_column=config.data.label_column,
        table=TableOptions(config.data.target, config.data.drop, config.data.categories),
        several=several,
        skip_unreadable=config.data.skip_unreadable,
    )


def prepare(
    config: Config, given: Any = None, say: Say = _silent, groups: NDArray[np.int64] | None = None
) -> Prepared:
    """Open, group duplicates, thin to a long tail, split, decode.

    Args:
        config: says which source, profile, split and size.
        given: a Python source in place of the one named by the configuration.
        say: told of what is decided.
        groups: duplicate groups found before, to save the search.

    Raises:
        InputError: the source, the profile or the split cannot be had.

    Example: see ``Prepared``.
    """
    whole = given if isinstance(given, Source) else open_config(config, given)  # opened with them before
    own_test = "test" in whole.given
    seed = split_seed(config, own_test)
    found = duplicates_of(whole, config, say) if groups is None else groups
    source, found = _thinned(whole, found, config, seed)
    split = make_split(source, seed=seed, val=config.data.val, test=config.data.test, groups=found)
    split = _without_leaks(split, config.data, say)
    task_of(source).check_split(source, split, say)
    clean, source = source, _relabelled(source, split, config.data, say)
    classes = ClassInfo(source.class_names, source.counts_of(split.train))
    if config.focus is not None:
        _check_focus(config, classes.names, source.counts_of(split.val), say)
    wrong, reading = int((source.labels != clean.labels).sum()), _reading(config)
    if rows_of(source) is not None:
        encoding, rows = encoded_parts(source, split, found, say)
        say(_describe(source, split, str(encoding), classes, own_test))
        return Prepared(
            source,
            split,
            encoding.size,
            classes,
            own_test,
            rows,
            config.data,
            reading,
            wrong,
            encoding,
        )
    size = chosen_size(source, config.data, needed_size(config))
    shown = f"images {size[0]} x {size[1]} (height x width)"
    say(_describe(source, split, shown, classes, own_test))
    images = _resident(source, split, size, config, say)
    return Prepared(source, split, size, classes, own_test, images, config.data, reading, wrong)


def training_classes(config: Config, source: Source) -> ClassInfo:
    """Names and training counts of a run, nearly: copies of images are not looked for, nor is any read.

    Args:
        config: says which profile and split.
        source: is not changed.

    Raises:
        InputError: the profile or the split cannot be had.

    Example:
        >>> from tailgrad.data import open_source
        >>> training_classes(Config(source="digits-lt"), open_source("digits-lt")).counts[:3]
        (109, 81, 58)
    """
    alone = np.arange(len(source.items), dtype=np.int64)
    seed = split_seed(config, "test" in source.given)
    thinned, groups = _thinned(source, alone, config, seed)
    split = make_split(thinned, seed=seed, val=config.data.val, test=config.data.test, groups=groups)
    return ClassInfo(thinned.class_names, thinned.counts_of(split.train))


def _relabelled(source: Source, split: Split, data: DataConfig, say: Say) -> Source:
    """The source with wrong training labels where they are asked for, the same for every seed of a split."""
    if not data.label_noise:
        return source
    say(f"training labels are replaced with probability {data.label_noise:g} (data.label_noise)")
    found = noisy_labels(source.labels, split.train, data.label_noise, source.num_classes, split.seed)
    return replace(source, labels=found)


def _reading(config: Config) -> Reading:
    data = config.data
    return Reading(
        workers=data.workers,
        prefetch=data.prefetch,
        pin=device_of(config.train.device).type == "cuda",
        on_unreadable=data.on_unreadable,
    )


def _check_focus(config: Config, names: Sequence[str], validation: Sequence[int], say: Say) -> None:
    """A class in focus chooses the epoch and a threshold on its validation images: it needs some."""
    focus = one_of("focus", str(config.focus), names)
    images = validation[names.index(focus)]
    if images and images < FEW_IN_FOCUS:
        chooses = "F1" if config.train.monitor == "focus_f1" else "macro-F1"
        say(
            f"warning: {focus!r} in focus has {images} validation images, fewer than {FEW_IN_FOCUS}: "
            f"{chooses} chooses the epoch, and the threshold of the class is a guess; collect more of it"
        )
    if not images:
        raise InputError(
            f"focus must be a class with validation images, got {focus!r} with none; move some there, or "
            "train without --focus"
        )


def _without_leaks(split: Split, data: DataConfig, say: Say) -> Split:
    """Leave copies of given validation and test images out of training on request; say what there is."""
    copies = np.intersect1d([outside for outside, _ in split.leakage], split.train).astype(np.int64)
    if not split.leakage:
        return split
    if data.drop_leaks:
        say(f"{len(copies)} training images are left out: copies of images in a part that the source brings")
        return split.with_train(np.setdiff1d(split.train, copies))
    say(
        f"warning: {len(split.leakage)} pairs of copies lie across the parts that the source brings, "
        f"{len(copies)} training images among them; set data.drop_leaks=true to leave those out"
    )
    return split


def split_seed(config: Config, own_test: bool) -> int:
    """Which split a run draws: its own seed's, or split 0 where the test set is given.

    Example:
        >>> split_seed(Config(source="x", seed=4), own_test=False)
        4
    """
    if config.split_seed is not None:
        return config.split_seed
    return 0 if own_test else config.seed


def duplicates_of(source: Source, config: Config, say: Say = _silent) -> NDArray[np.int64]:
    """Duplicate group of every item, by the configuration's wish with near duplicates.

    Without them, more than 50,000 items are compared by their stored bytes: none is decoded.

    Raises:
        InputError: images cannot be decoded; five are named.

    Example:
        >>> from tailgrad.data import open_source
        >>> len(duplicates_of(open_source("digits-lt"), Config(source="digits-lt")))
        1797
    """
    if not config.data.group_duplicates:
        say("warning: copies of training images may be tested on (data.group_duplicates=false)")
        return np.arange(len(source.items), dtype=np.int64)
    near, many = config.data.near_duplicates, len(source.items) > MANY and rows_of(source) is None
    if many:
        say(
            f"looking for copies among {len(source.items)} images"
            + (", near duplicates too; data.near_duplicates=false is faster" if near else ", byte for byte")
        )
    with _counting(say, "looking for copies") as progress:
        found = duplicate_groups(source, near=near, stored=many and not near, progress=progress)
    if found.unreadable:  # said here once for all parts, and before hours of training that would meet them
        some = "; ".join(f"{source.items.name(i)!r}: {reason}" for i, reason in found.unreadable[:5])
        more = f"; and {len(found.unreadable) - 5} more" if len(found.unreadable) > 5 else ""
        raise InputError(
            f"images must be readable, got {len(found.unreadable)} that are not ({some}{more}); replace or "
            "remove them, or pass over them with --set data.skip_unreadable=true"
        )
    return found.group


def chosen_size(source: Source, data: DataConfig, needed: tuple[int, int] | None = None) -> tuple[int, int]:
    """(height, width) of the decoded images; a backbone that takes one size only gets photographs at it.

    Small images stay small here: the classifier enlarges them itself.

    Example:
        >>> from tailgrad.data import open_source
        >>> chosen_size(open_source("digits-lt"), DataConfig(size=48))
        (48, 48)
    """
    if data.size == "auto":
        size = default_size(source, data.fallback_size)
        return needed if needed and size == (data.fallback_size, data.fallback_size) else size
    return (data.size, data.size) if isinstance(data.size, int) else data.size


def profile_of(source: Source, data: DataConfig) -> Profile | None:
    """The long-tail profile to apply: the configuration's, else the source's own.

    Raises:
        InputError: an imbalance factor or counts without a profile that takes them.

    Example:
        >>> from tailgrad.data import open_source
        >>> profile_of(open_source("digits-lt"), DataConfig(imb_factor=50)).imb_factor
        50.0
    """
    kind, factor, counts = data.profile, data.imb_factor, data.counts
    if kind == "none":
        if factor is not None or counts is not None:
            raise InputError(
                f"data.imb_factor and data.counts need a profile, got profile=none with {factor or counts}; "
                "set data.profile=exponential or leave them out"
            )
        return None
    if kind == "default":
        if factor is None and counts is None:
            return source.profile
        own = source.profile.kind if source.profile else "exponential"
        return Profile("explicit" if counts is not None else own, imb_factor=factor, counts=counts)
    return Profile(kind, imb_factor=factor, counts=counts)


def _thinned(
    source: Source, groups: NDArray[np.int64], config: Config, seed: int
) -> tuple[Source, NDArray[np.int64]]:
    profile = profile_of(source, config.data)
    if profile is None:
        return source, groups
    given = np.array(source.given)
    if "test" not in source.given:
        first = make_split(source, seed=seed, val=config.data.val, test=config.data.test, groups=groups)
        given = np.where(given == "val", "val", "train").astype(object)
        given[first.test] = "test"
    pool = np.flatnonzero((given == "train") | (given == ""))
    rank = None if source.rank is None else source.rank[pool]
    kept = pool[longtail(source.labels[pool], profile, seed, rank, source.num_classes)]
    kept = np.sort(np.concatenate([kept, np.flatnonzero((given == "test") | (given == "val"))]))
    marked = replace(source, given=tuple(str(part) for part in given))
    return choose(marked, kept), groups[kept]


def _resident(
    source: Source, split: Split, size: tuple[int, int], config: Config, say: Say
) -> dict[str, Tensor] | None:
    data, device = config.data, device_of(config.train.device)
    where = choose_residence(
        data.resident,
        sum(len(getattr(split, part)) for part in PARTS) * 3 * size[0] * size[1],
        memory_limit_bytes=data.resident_gb * 1e9,
        device_free_bytes=device_free_bytes(device),
        say=say,
    )
    if where == "stream":
        return None
    there = device if where == "device" else torch.device("cpu")
    images = {}
    for part in PARTS:
        with _counting(say, f"reading {part} images") as progress:
            found = load_images(source, getattr(split, part), size, mode=data.resize, progress=progress)
        images[part] = found.to(there)
    return images


def _counting(say: Say, title: str) -> AbstractContextManager[Told]:
    """Where somebody listens on a console, that shows how far a piece of work is."""
    return counting(getattr(say, "console", None), title)


def _describe(source: Source, split: Split, items: str, classes: ClassInfo, own_test: bool) -> str:
    parts = ", ".join(f"{len(getattr(split, part))} {part}" for part in PARTS)
    kept = "its own test set" if own_test else f"split {split.seed}"
    return (
        f"{source.name}: {task_of(source).describe(source)}, {parts} ({kept}), imbalance factor "
        f"{classes.imbalance_factor:.1f}, {items}"
    )
