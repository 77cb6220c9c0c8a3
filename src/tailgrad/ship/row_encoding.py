"""The encoding of a run on a table, checked against the weights that it goes with."""

from pathlib import Path

from tailgrad.checks import InputError
from tailgrad.data.table_encoding import ENCODING, TableEncoding, load_encoding
from tailgrad.engine import load_weights
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.untrusted import of_shape


def encoding_of_run(folder: RunFolder) -> TableEncoding:
    """``encoding.json`` of a run on a table.

    Raises:
        InputError: it is missing or damaged, or goes with other weights.

    Example: see ``ship.export``.
    """
    found = load_encoding(folder.path / ENCODING)
    check_encoding(found, folder.weights, str(folder.path / ENCODING))
    return found


def check_encoding(encoding: TableEncoding, weights: Path, name: str) -> None:
    """Make sure that a network was built for the columns and classes of an encoding.

    Args:
        encoding: of a table.
        weights: file of the network.
        name: of the file that holds the encoding.

    Raises:
        InputError: it was built for others.

    Example: see ``ship.export``.
    """
    meta = load_weights(weights)[1]
    with of_shape(weights, "restore it"):
        columns, names = meta.get("columns"), tuple(meta["classes"]["names"])
    if columns != encoding.columns or names != encoding.classes:
        raise InputError(
            f"{name} must describe the columns and classes of the weights beside it, got {encoding} and "
            f"{len(encoding.classes)} classes; restore it"
        )
