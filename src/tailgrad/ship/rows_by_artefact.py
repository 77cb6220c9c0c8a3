"""Predictions of the rows of tables by an artefact, without PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tailgrad.data.new_rows import open_new_tables, row_places
from tailgrad.ship.artefact import Artefact
from tailgrad.ship.decision import Prediction
from tailgrad.ship.feed import batches, row_feed
from tailgrad.ship.judge import judge_of
from tailgrad.ship.wish import Wish

BATCH = 4096


def rows_by_artefact(
    artefact: Artefact, tables: Sequence[str | Path], wish: Wish, say: Callable[[str], None]
) -> list[Prediction]:
    """Classify the rows of tables, as ``recipes.predict_rows`` does by the run.

    Args:
        artefact: of a run on a table.
        tables: CSV or parquet files.
        wish: what is asked.
        say: told what was made up: unseen categories, missing numbers, columns that are passed over.

    Raises:
        InputError: there is no table, a column is missing or holds other values than in training, a label is
            none of the classes, or the wish does not fit.

    Example: see ``predict``.
    """
    encoding = artefact.description.encoding
    assert encoding is not None  # this tells the type checker
    judge = judge_of(artefact, wish)
    opened = open_new_tables(tables, encoding, say)
    logits = np.concatenate(
        [artefact.logits(one) for _, rows in opened for one in batches(row_feed(rows.encoded), BATCH)]
    )
    places = row_places(opened)
    found = judge([name for name, _ in places], logits)
    return [replace(one, label=label) for one, (_, label) in zip(found, places, strict=True)]
