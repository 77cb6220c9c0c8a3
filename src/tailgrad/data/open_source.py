"""One argument names the source, whatever kind it is."""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tailgrad.checks import InputError, nearest_path
from tailgrad.data.decode import unreadable
from tailgrad.data.label_lists import LabelLists, with_labels
from tailgrad.data.source import Source, choose
from tailgrad.data.table_options import TableOptions

NAMES = (
    "digits-lt",
    "cifar10",
    "cifar100",
    "cifar10-lt",
    "cifar100-lt",
    "digits-multi-lt",
    "patterns-multi-lt",
    "breast-cancer-lt",
    "wine-lt",
    "generated-rows",
    "generated-rows-small",
)
"""Sources that have a name of their own."""


def open_source(
    spec: Any,
    *,
    root: str | PathLike[str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    several: LabelLists | None = None,
    table: TableOptions | None = None,
    skip_unreadable: bool = False,
) -> Source:
    """Open a source of images, or of rows of a table, with labels.

    Args:
        spec: ``digits-lt``, ``cifar10``, ``cifar100``, ``cifar10-lt``, ``cifar100-lt``, ``digits-multi-lt``
            or ``patterns-multi-lt`` (several labels an image); a folder of class folders; a CSV list; a list
            of paths and class numbers (``ImageNet_LT_train.txt``); an annotation file of iNaturalist
            (``train2018.json``); a parquet file, a WebDataset tar, or a folder of either; a tuple (images,
            labels); a map-style dataset of (image, label); or a Source, which is returned as it is.
        root: folder that the paths of a list are relative to, or that holds CIFAR.
        image_column: column of the images in a CSV list or parquet file.
        label_column: column of the labels in a CSV list or parquet file; field of ``.json`` members of a tar.
        several: how a CSV list gives several labels to an image, and what becomes of labels and images
            without.
        table: with a target column, ``spec`` is a table: a CSV or parquet file, or a data frame.
        skip_unreadable: try every image, drop those that cannot be decoded and list them in ``ignored``.

    Raises:
        InputError: nothing of that name, a file of another kind, no images, fewer than two classes with
            images, an option that has no effect on this source, or as the opener of the kind.

    Example:
        >>> source = open_source("digits-lt")
        >>> source.name, source.num_classes, len(source.items)
        ('digits-lt', 10, 1797)
        >>> open_source("digit-lt")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: source must be ..., got 'digit-lt'; did you mean 'digits-lt'?
    """
    options: dict[str, Any] = {"root": root, "image_column": image_column, "label_column": label_column}
    options |= {} if table is None else table.given
    if several is not None and several.is_read:
        options[several.key] = several
    source = _open(spec, {name: value for name, value in options.items() if value is not None})
    source = _with_labels(source, several)
    if skip_unreadable:
        source = _without_unreadable(source)
    present = [name for name, n in zip(source.class_names, source.counts, strict=True) if n]
    if len(present) < 2:
        raise InputError(
            f"source must hold images of at least 2 classes, got {present} in {source.name!r}; add a class"
        )
    return source


def _with_labels(source: Source, several: LabelLists | None) -> Source:
    if several is not None and several.drop and source.indicators is None:
        raise InputError(
            f"drop_labels is for images with several labels, got {','.join(several.drop)} for "
            f"{source.name!r}; leave it out, and remove the images of a class from the source"
        )
    return source if several is None else with_labels(source, several)


def _open(spec: Any, options: dict[str, Any]) -> Source:
    if "target" in options and not isinstance(spec, Source):
        return _open_table(spec, options)
    for key in options.keys() & {"drop", "categories"}:
        raise InputError(
            f"{key} must be left out for images, got {','.join(options[key])}; name the column of a table's "
            "classes with --target (data.target) as well"
        )
    if isinstance(spec, str | PathLike):
        return _open_named(str(spec), options)
    _refuse(options, (), f"a {type(spec).__name__}")
    if isinstance(spec, Source):
        return spec
    from tailgrad.data.arrays import open_arrays, open_dataset

    if isinstance(spec, tuple) and len(spec) == 2:
        return open_arrays(*spec)
    if not (hasattr(spec, "__len__") and hasattr(spec, "__getitem__")):
        raise InputError(
            f"source must be a name, a path, a tuple (images, labels), a map-style dataset or a Source, got "
            f"{spec!r}; choose one of these"
        )
    return open_dataset(spec)


def _open_named(spec: str, options: dict[str, Any]) -> Source:
    if spec == "digits-lt":
        _refuse(options, (), spec)
        from tailgrad.data.digits import open_digits

        return open_digits()
    if spec == "digits-multi-lt":
        _refuse(options, (), spec)
        from tailgrad.data.digits_multi import open_digits_multi

        return open_digits_multi()
    if spec == "patterns-multi-lt":
        _refuse(options, (), spec)
        from tailgrad.data.patterns_multi import open_patterns_multi

        return open_patterns_multi()
    if spec in ("breast-cancer-lt", "wine-lt"):
        _refuse(options, (), spec)
        from tailgrad.data.bundled_tables import open_bundled_table

        return open_bundled_table(spec)
    if spec in ("generated-rows", "generated-rows-small"):
        _refuse(options, (), spec)
        from tailgrad.data.generated_rows import SIZES, open_generated_rows

        return open_generated_rows(spec, *SIZES[spec])
    if spec in NAMES:
        _refuse(options, ("root",), spec)
        from tailgrad.data.cifar import open_cifar

        return open_cifar(spec, Path(options["root"]) if options else None)
    return _open_path(spec, Path(spec).expanduser(), options)


def _open_path(spec: str, place: Path, options: dict[str, Any]) -> Source:
    kind = place.suffix.lower()
    if not _exists(place):
        hint = nearest_path(place, NAMES)
        raise InputError(f"source must be a path that exists or a known name, got {spec!r}; {hint}")
    if place.is_dir():
        return _open_folder(place, options)
    if kind in (".csv", ".tsv"):
        return _open_csv(place, options)
    if kind in (".txt", ".json"):
        return _open_list(place, options)
    if kind == ".parquet":
        return _open_parquet([place], f"{place.resolve().parent.name}-{place.stem}", options)
    if kind == ".tar":
        return _open_shards([place], place.parent, options)
    raise InputError(
        f"source must be a folder, or a file ending in .csv, .tsv, .txt, .json, .parquet or .tar, got "
        f"{spec!r}; unpack another archive first, and give the folder of single images"
    )


def _open_table(spec: Any, options: dict[str, Any]) -> Source:
    from tailgrad.data.table import open_table

    if str(spec) in NAMES:
        _refuse(options, (), str(spec))
    _refuse(options, ("target", "drop", "categories"), "a table")
    if isinstance(spec, str | PathLike):
        spec = Path(spec).expanduser()
        if not _exists(spec):
            hint = nearest_path(spec, NAMES)
            raise InputError(f"source must be a table that exists, got {str(spec)!r}; {hint}")
    return open_table(spec, **options)


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError as error:
        raise InputError(
            f"source must be readable, got {error}; check the path and its permissions"
        ) from error


def _open_csv(place: Path, options: dict[str, Any]) -> Source:
    from tailgrad.data.csv_list import open_csv

    root = Path(options["root"]).expanduser() if "root" in options else None
    several = options.get("labels_column", options.get("label_columns"))
    return open_csv(place, root, options.get("image_column"), options.get("label_column"), several)


def _open_list(place: Path, options: dict[str, Any]) -> Source:
    _refuse(options, ("root",), f"a {place.suffix} list")
    from tailgrad.data.inaturalist import open_inaturalist
    from tailgrad.data.list_file import open_list

    root = Path(options["root"]).expanduser() if "root" in options else None
    return (open_inaturalist if place.suffix.lower() == ".json" else open_list)(place, root)


def _open_shards(files: list[Path], root: Path, options: dict[str, Any]) -> Source:
    _refuse(options, ("label_column",), "WebDataset shards")
    from tailgrad.data.web_dataset import open_shards

    return open_shards(files, root, options.get("label_column"))


def _open_folder(place: Path, options: dict[str, Any]) -> Source:
    # Repositories of data sets keep their parquet files in a folder called data.
    files = sorted(place.glob("*.parquet")) or sorted((place / "data").glob("*.parquet"))
    if files:
        return _open_parquet(files, place.resolve().name, options)
    from tailgrad.data.web_dataset import shards_in

    shards = shards_in(place)
    if shards:
        return _open_shards(shards, place, options)
    _refuse(options, (), "a folder of images")
    from tailgrad.data.folder import open_folder

    return open_folder(place)


def _open_parquet(files: list[Path], name: str, options: dict[str, Any]) -> Source:
    _refuse(options, ("image_column", "label_column"), "parquet files")
    from tailgrad.data.parquet import open_parquet

    return open_parquet(files, name, **options)


def _refuse(options: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    for name, value in options.items():
        if name not in known:
            raise InputError(f"{name} must be left out for {what}, got {value!r}; it has no effect there")


def _without_unreadable(source: Source) -> Source:
    bad = [i for i, _ in unreadable(source)]
    good = np.setdiff1d(np.arange(len(source.items)), bad)
    names = [source.items.name(i) for i in bad]
    return replace(choose(source, good), ignored=(*source.ignored, *names)) if bad else source
