"""Every reader bears its valid files, every case that was ever found, and some new ones."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).parent / "cases"
NAMES = (
    *("recipe", "config", "assignment", "split", "result", "metrics", "study", "comparison", "csv", "list"),
    *("annotations", "parquet", "tar", "image", "weights", "posthoc", "state", "arrays", "measurement"),
    *("printed", "artefact", "row_artefact", "frequencies", "to_classify", "pretrained"),
    *("rows", "row_parquet", "encoding", "labels", "label_columns"),
)
DONE_WITHOUT = {"study"}
"""Files without which a report is written all the same; it names them."""
SLOW = {"result": 4, "metrics": 4, "study": 2, "comparison": 2, "arrays": 4, "measurement": 4, "weights": 4}


@pytest.fixture(scope="module")
def targets() -> Any:
    from targets import TARGETS

    return TARGETS


def test_every_reader_is_tested(targets: Any) -> None:
    assert sorted(NAMES) == sorted(targets)
    assert {path.name for path in CASES.iterdir() if path.is_dir()} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_valid_files_are_taken(targets: Any, name: str) -> None:
    assert targets[name](targets[name].seeds()[0])


@pytest.mark.parametrize(
    "case", sorted(CASES.glob("*/*.bin")), ids=lambda case: f"{case.parent.name}-{case.stem}"
)
@pytest.mark.filterwarnings("ignore")
def test_what_was_found_before(targets: Any, case: Path) -> None:
    begun = time.process_time()
    targets[case.parent.name](case.read_bytes())
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_spoilt_files_are_refused_in_words_or_taken(targets: Any, name: str) -> None:
    target, chance = targets[name], random.Random(name)
    seeds = target.seeds()
    refused = 0
    for _ in range(SLOW.get(name, 40)):
        data = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 2, 3))):
            data = target.change(chance, data)
        refused += not target(data)
    assert refused or name in DONE_WITHOUT
