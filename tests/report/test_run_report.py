from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tailgrad.report.blocks import Folded, Part, Table
from tailgrad.report.errors import confusion_blocks
from tailgrad.report.folders import Run, read_run
from tailgrad.report.run_report import GLOSSARY, curve, made_blocks, run_page


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return read_run(run_folder)


def test_headline_is_macro_f1_with_its_interval(run: Run) -> None:
    card = run_page(run).cards[0]
    macro = run.test.macro_f1
    assert (card.label, card.value) == ("macro-F1 on test images", f"{macro.value:.3f}")
    assert card.note == f"95 %: {macro.low:.3f} to {macro.high:.3f}"


def test_a_stopped_run_says_so(run: Run) -> None:
    stopped = replace(run, result=run.result | {"status": "stopped"})
    assert "not run to its end" in run_page(stopped).facts
    assert "not run to its end" not in run_page(run).facts


def test_confusion_rows_sum_to_one_and_counts_add_up_over_seeds(run: Run) -> None:
    grid, *tables = confusion_blocks({"csba": (run, run)})
    rows = np.array(grid.blocks[0].spec["data"][0]["z"], dtype=float)
    assert rows.sum(1) == pytest.approx(1, abs=0.005)
    cells = [int(cell) for row in tables[0].blocks[0].rows for cell in row[1:]]
    assert sum(cells) == 2 * run.test.images


def test_missing_epochs_figures_become_gaps(run: Run) -> None:
    line = curve(run, "val_worst_f1", "worst", None)
    assert line.values[:2] == (None, None)
    assert line.values[5] is not None
    assert curve(run, "no_such_key", "none", None).values == (None,) * 15


def test_training_section_is_left_out_without_epochs(run: Run) -> None:
    sections = run_page(replace(run, epochs=())).sections
    parts = {part.title: part.blocks for one in sections for part in one.blocks if isinstance(part, Part)}
    assert parts["Training"] == ()
    assert not any(getattr(block, "title", "") == "Training" for one in sections for block in one.shown)


def test_how_it_was_made_holds_hash_configuration_and_words(run: Run) -> None:
    table, config, environment, words = made_blocks(run)
    assert isinstance(table, Table)
    assert ("split, SHA-256", run.split["sha256"]) in table.rows
    assert isinstance(config, Folded)
    assert ("optim.lr", "0.001") in config.blocks[0].rows
    assert ("torch", "2.12") in environment.blocks[0].rows
    assert len(words.blocks[0].rows) == len(GLOSSARY)
