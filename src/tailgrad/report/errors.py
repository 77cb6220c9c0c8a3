"""Which class is taken for which: confusion matrices and the errors that cost most."""

import numpy as np

from tailgrad.report.blocks import Block, Folded, Grid, Table
from tailgrad.report.class_order import MOST_CELLS
from tailgrad.report.figures import CONFUSION, heat_map
from tailgrad.report.folders import Run
from tailgrad.report.look_alikes import mistake_table, summed
from tailgrad.report.tables import matrix_table

CONFUSION_MEANING = "Rows are true classes and sum to 100 %; off the diagonal lie the errors."


def confusion_blocks(runs: dict[str, tuple[Run, ...]]) -> tuple[Block, ...]:
    """Confusion matrices side by side, counts summed over the runs of a label, and the largest errors.

    Example: see ``write_report``.
    """
    figures: list[Block] = []
    tables: list[Block] = []
    largest: list[Table] = []
    for label, found in runs.items():
        classes = found[0].classes
        together = summed([run.test.confusion for run in found])
        counts = np.asarray(together)
        totals = counts.sum(1, keepdims=True)
        shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
        figures.append(heat_map(f"Confusion: {label}", CONFUSION_MEANING, shares, classes, scale=CONFUSION))
        table = mistake_table(together, classes.names, runs=len(found))
        caption = table.caption if len(runs) == 1 else f"{table.caption}: {label}"
        largest.append(Table(caption, table.header, table.rows))
        if classes.num_classes <= MOST_CELLS:
            tables.append(matrix_table(f"Counts, {label} (rows: true class)", counts.tolist(), classes, 0))
    shown = tuple(table for table in largest if table.rows)
    if len(runs) == 1:
        return (Grid((*figures, *shown)), *tables)
    others = (Folded(table.caption, (table,)) for table in shown[1:])
    return (Grid(tuple(figures)), *shown[:1], *others, *tables)
