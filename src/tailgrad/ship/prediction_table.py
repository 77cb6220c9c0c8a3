"""Predictions as a CSV file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from tailgrad.files import write_text
from tailgrad.ship.decision import Prediction


def write_predictions(path: str | Path, predictions: Sequence[Prediction]) -> Path:
    """Write one row an image: path, predicted, probability, the most probable classes, abstained, error.

    The class is named where the decision was abstained from too: ``abstained`` says so. A column ``label``
    comes first among the last three where rows of a table say their class. Of several labels an image, the
    likeliest are named ``label_1``, ``label_2`` and so on in place of ``class_1``.

    Args:
        path: the file; it is replaced.
        predictions: of ``predict``.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> one = Prediction("a.png", "cat", 0.9, (0.9, 0.1), top=(("cat", 0.9), ("dog", 0.1)))
        >>> print(write_predictions(Path(tempfile.mkdtemp()) / "p.csv", [one]).read_text().strip())
        path,predicted,probability,class_1,probability_1,class_2,probability_2,abstained,error
        a.png,cat,0.900000,cat,0.900000,dog,0.100000,false,
    """
    most = max([1, *(len(one.top) for one in predictions)])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    what = "class" if all(one.labels is None for one in predictions) else "label"
    pairs = [f"{each}_{place}" for place in range(1, most + 1) for each in (what, "probability")]
    labelled = any(one.label for one in predictions)
    last = ["label"] if labelled else []
    table.writerow(["path", "predicted", "probability", *pairs, *last, "abstained", "error"])
    for one in predictions:
        label = [one.label] if labelled else []
        if one.error:
            table.writerow([one.file, "", "", *[""] * len(pairs), *label, "", one.error])
            continue
        cells = [cell for name, p in one.top for cell in (name, f"{p:.6f}")]
        abstained = str(one.abstained).lower()
        table.writerow([one.file, one.name, f"{one.probability:.6f}", *cells, *label, abstained, ""])
    return write_text(Path(path), text.getvalue())
