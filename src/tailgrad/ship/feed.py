"""What the graph of an artefact is fed: pixels of images, or numbers and categories of rows, by name."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data.table_encoding import Encoded, TableEncoding
from tailgrad.ship.description import Description

IMAGES, NUMBERS, CATEGORIES = "images", "numbers", "categories"
Feed = Mapping[str, NDArray[Any]]
"""Arrays of N examples each, by the name of the input."""


def row_feed(encoded: Encoded) -> dict[str, NDArray[Any]]:
    """Encoded rows by input; a kind that has no columns is left out, as the graph leaves it out.

    Example:
        >>> list(row_feed(Encoded(np.zeros((2, 3), np.float32), np.zeros((2, 0), np.int64), {}, {})))
        ['numbers']
    """
    both: Feed = {NUMBERS: encoded.numbers, CATEGORIES: encoded.categories}
    return {name: values for name, values in both.items() if values.shape[1]}


def length(feed: Feed) -> int:
    """N.

    Example:
        >>> length({"numbers": np.zeros((4, 2))})
        4
    """
    return len(next(iter(feed.values())))


def part(feed: Feed, start: int, stop: int | None = None) -> dict[str, NDArray[Any]]:
    """Some of the examples.

    Example:
        >>> part({"numbers": np.arange(4)}, 1, 3)["numbers"].tolist()
        [1, 2]
    """
    return {name: values[start:stop] for name, values in feed.items()}


def batches(feed: Feed, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    """All examples in order, ``size`` at a time.

    Example:
        >>> [length(one) for one in batches({"numbers": np.zeros((5, 2))}, 2)]
        [2, 2, 1]
    """
    for start in range(0, length(feed), size):
        yield part(feed, start, start + size)


def graph_inputs(about: Description) -> dict[str, str]:
    """Type of every input of the graph, by its name, as ONNX Runtime names types.

    Example: see ``Artefact``.
    """
    if about.encoding is None:
        return {IMAGES: "tensor(uint8)"}
    numbers, categories = about.encoding.size
    both = {NUMBERS: ("tensor(float)", numbers), CATEGORIES: ("tensor(int64)", categories)}
    return {name: kind for name, (kind, columns) in both.items() if columns}


def check_feed(feed: Feed, about: Description) -> None:
    """Make sure that examples are what the graph takes.

    Args:
        feed: ``images`` uint8 [N, 3, H, W] of the stated size; or of rows ``numbers`` float32 [N, F], finite,
            and ``categories`` int64 [N, C], positions from 0 to the cardinality of the column.
        about: of the artefact.

    Raises:
        InputError: they are not.

    Example: see ``Artefact``.
    """
    wanted = graph_inputs(about)
    if set(feed) != set(wanted):
        raise InputError(
            f"inputs must be {' and '.join(wanted)}, got {', '.join(feed) or 'none'}; give an array by "
            "each name"
        )
    if about.encoding is not None:
        _check_rows(feed, about.encoding)
        return
    form, images = about.preprocessing, feed[IMAGES]
    assert form is not None  # this tells the type checker
    if images.ndim != 4 or images.shape[1:] != (3, *form.size) or images.dtype != np.uint8:
        raise InputError(
            f"images must be uint8 [N, 3, {form.size[0]}, {form.size[1]}], got {images.dtype} "
            f"{list(images.shape)}; resize them first"
        )


def _check_rows(feed: Feed, encoding: TableEncoding) -> None:
    forms = {NUMBERS: (np.float32, encoding.width), CATEGORIES: (np.int64, len(encoding.categories))}
    for name, values in feed.items():
        kind, columns = forms[name]
        if values.dtype != kind or values.shape != (length(feed), columns):
            raise InputError(
                f"{name} must be {np.dtype(kind)} [{length(feed)}, {columns}], got {values.dtype} "
                f"{list(values.shape)}; encode the rows with the encoding of the description"
            )
    if not np.isfinite(feed.get(NUMBERS, np.zeros(0))).all():
        raise InputError("numbers must be finite, got NaN or infinity; encode the rows, which fills them in")
    categories, most = feed.get(CATEGORIES, np.zeros((0, 0))), encoding.cardinalities
    if categories.size and ((categories < 0) | (categories > most)).any():
        raise InputError(
            f"categories must be from 0 to {', '.join(map(str, most))} column by column, got "
            f"{categories.min()} to {categories.max()}; encode the rows with the encoding of the description"
        )
