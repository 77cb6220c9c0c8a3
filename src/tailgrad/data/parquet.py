"""Parquet files in the Hugging Face image layout."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tailgrad.checks import InputError, nearest
from tailgrad.data.labels import class_indices
from tailgrad.data.parquet_images import ParquetImages, group_sizes
from tailgrad.data.parts import PARTS
from tailgrad.data.source import Source, brought_split, safe_name
from tailgrad.untrusted import of_shape, parse_json


def open_parquet(
    files: Sequence[Path], name: str, image_column: str | None = None, label_column: str | None = None
) -> Source:
    """Open parquet files in the Hugging Face image layout.

    The image column is struct(bytes, path) or binary; labels are integers, named by the schema's
    ``huggingface`` metadata where it is there, or text. File names that begin with train, val(idation) or
    test give the split. A column ``rank`` is kept as the canonical order within classes.

    Args:
        files: the files, at least one.
        name: name of the source.
        image_column: by default ``image``, or else the only column that the metadata calls an image.
        label_column: by default ``label``, or else the only column that the metadata calls a class label.

    Raises:
        InputError: no such column, a column of another type, files with different columns or class names,
            a label that is blank or out of range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     file = Path(name) / "train.parquet"
        ...     pq.write_table(pa.table({"image": [b"1", b"2"], "label": ["b", "a"]}), file)
        ...     open_parquet([file], "letters").labels.tolist()
        [1, 0]
    """
    schema, features = _schema(files)
    image = _column(schema, features, image_column, "image")
    label = _column(schema, features, label_column, "label")
    _check_image(schema, image)
    _check_label(schema, label)
    with of_shape(f"the parquet files of {name}", "fetch them again"):
        items = ParquetImages(files, image)
    values = _values(files, label)
    labels, class_names = class_indices(values, features.get(label, {}).get("names", ()), items.name)
    sizes = [sum(group_sizes(file)) for file in files]
    parts = [_part(file) for file, n in zip(files, sizes, strict=True) for _ in range(n)]
    return Source(
        name=safe_name(name),
        items=items,
        labels=labels,
        class_names=class_names,
        given=brought_split(parts),
        rank=_rank(files),
    )


def _schema(files: Sequence[Path]) -> tuple[pa.Schema, dict[str, Any]]:
    """The schema of the first file and the features that its metadata describes."""
    schemas = [_read_schema(file) for file in files]
    described = [_features(schema) for schema in schemas]
    for file, features in zip(files, described, strict=True):
        if _class_names(features) != _class_names(described[0]):
            raise InputError(
                f"parquet files of one source must agree on class names, got {_class_names(features)} in "
                f"{file.name} and {_class_names(described[0])} in {files[0].name}; open them one by one"
            )
    return schemas[0], described[0]


def _read_schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error


def _features(schema: pa.Schema) -> dict[str, Any]:
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    with of_shape("the huggingface metadata of parquet files", "fetch the file again"):
        features = parse_json(text.decode("utf-8")).get("info", {}).get("features", {})
        found = {name: feature for name, feature in features.items() if isinstance(feature, dict)}
        for names in _class_names(found).values():
            _check_names(names)
    return found


def _check_names(names: object) -> None:
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(
            f"class names of parquet files must be a list of texts, got {str(names)[:80]}; fetch them again"
        )
    if len(set(names)) < len(names):
        raise InputError(
            f"class names of parquet files must differ, got {str(names)[:80]}; fetch the file again"
        )


def _class_names(features: dict[str, Any]) -> dict[str, Any]:
    return {name: feature["names"] for name, feature in features.items() if "names" in feature}


def _column(schema: pa.Schema, features: dict[str, Any], given: str | None, default: str) -> str:
    """The column given, else the one of the default name, else the only one of the kind."""
    kind = "Image" if default == "image" else "ClassLabel"
    of_kind = [name for name, feature in features.items() if feature.get("_type") == kind]
    name = given or default
    if given is None and name not in schema.names and len(of_kind) == 1:
        name = of_kind[0]
    if name not in schema.names:
        raise InputError(
            f"parquet files must have a column {name!r}, got {', '.join(schema.names)}; "
            f"{nearest(name, schema.names)} (name it with data.{default}_column; where the rows are a table, "
            "name its classes with --target)"
        )
    return name


def _check_image(schema: pa.Schema, column: str) -> None:
    kind = schema.field(column).type
    has_bytes = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    encoded = kind.field("bytes").type if has_bytes else kind
    if not (pa.types.is_binary(encoded) or pa.types.is_large_binary(encoded)):
        raise InputError(
            f"column {column!r} must hold encoded images, struct(bytes, path) or binary, got {kind}; "
            "write it with the Image feature of Hugging Face datasets"
        )


def _check_label(schema: pa.Schema, column: str) -> None:
    kind = schema.field(column).type
    if pa.types.is_nested(kind):
        raise InputError(
            f"column {column!r} must hold one class a row, got {kind}; images with several labels are read "
            "from a CSV list, with --labels-column"
        )


def _values(files: Sequence[Path], column: str) -> list[object]:
    return [value for file in files for value in _values_of(file, column)]


def _values_of(file: Path, column: str) -> list[object]:
    rows = sum(group_sizes(file))
    try:
        values: list[object] = pq.read_table(file, columns=[column])[column].to_pylist()
    except (OSError, ValueError, OverflowError, KeyError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error
    if len(values) != rows:
        raise InputError(
            f"{str(file)!r} must hold as many labels as rows, got {len(values)} and {rows}; fetch it again"
        )
    return values


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(
        f"{str(file)!r} must be a parquet file, got: {' '.join(str(error).split())[:300]}; fetch it again"
    )


def _rank(files: Sequence[Path]) -> NDArray[np.int64] | None:
    tables = [pq.read_schema(file).names for file in files]
    if not any("rank" in names for names in tables):
        return None
    columns = [
        _values([file], "rank") if "rank" in names else [None] * sum(group_sizes(file))
        for file, names in zip(files, tables, strict=True)
    ]
    with of_shape("the column 'rank' of parquet files", "remove it, or number the images of each class"):
        return np.array([-1 if v is None else v for column in columns for v in column], dtype=np.int64)


def _part(file: Path) -> str:
    """The part of a split that a file name begins with: ``train-00000-of-00005.parquet`` is train."""
    word = re.split(r"[^a-z]", file.name.lower())[0]
    return PARTS.get(word, "")
