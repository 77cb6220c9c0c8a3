"""From a source and a configuration to split, decoded, normalised data that every method shares."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.checks import InputError, one_of
from tailgrad.data import (
    Source,
    Split,
    default_size,
    load_images,
    make_split,
    open_source,
)
from tailgrad.data.label_lists import LabelLists
from tailgrad.data.label_noise import noisy_labels
from tailgrad.data.reading import Reading
from tailgrad.data.residence import choose_residence, device_free_bytes
from tailgrad.data.table import rows_of
from tailgrad.data.table_options import TableOptions
from tailgrad.recipes.assemble import device_of, needed_size
from tailgrad.recipes.config import Config, DataConfig
from tailgrad.recipes.copies import duplicates_of, without_leaks
from tailgrad.recipes.prepared import PARTS, Prepared
from tailgrad.recipes.row_parts import encoded_parts
from tailgrad.recipes.task import task_of
from tailgrad.recipes.thinning import split_seed, thinned
from tailgrad.recipes.waiting import Say, counted, silent
from tailgrad.types import ClassInfo

FEW_IN_FOCUS = 10
"""Validation images of a class in focus under which its F1 does not choose the epoch."""


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
    config: Config, given: Any = None, say: Say = silent, groups: NDArray[np.int64] | None = None
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
    source, found = thinned(whole, found, config, seed)
    split = make_split(source, seed=seed, val=config.data.val, test=config.data.test, groups=found)
    split = without_leaks(split, config.data, say)
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
    kept, split = _nearly_split(config, source)
    return ClassInfo(kept.class_names, kept.counts_of(split.train))


def images_tested(config: Config, source: Source) -> frozenset[str]:
    """Names of the test images of a run, nearly: as ``training_classes``.

    Args:
        config: says which profile and split.
        source: is not changed.

    Raises:
        InputError: the profile or the split cannot be had.

    Example:
        >>> from tailgrad.data import open_source
        >>> len(images_tested(Config(source="digits-lt"), open_source("digits-lt")))
        500
    """
    kept, split = _nearly_split(config, source)
    return frozenset(kept.items.name(int(i)) for i in split.test)


def _nearly_split(config: Config, source: Source) -> tuple[Source, Split]:
    alone = np.arange(len(source.items), dtype=np.int64)
    seed = split_seed(config, "test" in source.given)
    kept, groups = thinned(source, alone, config, seed)
    return kept, make_split(kept, seed=seed, val=config.data.val, test=config.data.test, groups=groups)


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
        with counted(say, f"reading {part} images") as progress:
            found = load_images(source, getattr(split, part), size, mode=data.resize, progress=progress)
        images[part] = found.to(there)
    return images


def _describe(source: Source, split: Split, items: str, classes: ClassInfo, own_test: bool) -> str:
    parts = ", ".join(f"{len(getattr(split, part))} {part}" for part in PARTS)
    kept = "its own test set" if own_test else f"split {split.seed}"
    return (
        f"{source.name}: {task_of(source).describe(source)}, {parts} ({kept}), imbalance factor "
        f"{classes.imbalance_factor:.1f}, {items}"
    )
