"""What an analysis says about how far it is: counts, time left, and not too many lines."""

from pathlib import Path

from rich.console import Console

from tailgrad.evidence import Lab
from tailgrad.evidence.cell_progress import CellProgress
from tailgrad.recipes.talk import Talk


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _worked(expected: int | None, seconds: list[float], kept: int = 0, every: float = 0.0) -> list[str]:
    said: list[str] = []
    clock = _Clock()
    progress = CellProgress("study.cpu", said.append, every, clock)
    progress.expected = expected
    for place in range(kept):
        progress.passed(f"kept-{place}")
    for place, second in enumerate(seconds):
        progress.begin(f"cell-{place}")
        clock.now += second
        progress.end(f"cell-{place}")
    return said


def test_the_time_left_is_the_mean_of_a_cell_times_those_that_are_missing() -> None:
    # after 10 and 30 seconds the mean is 20, and 8 of 10 are missing: the third and seven more
    assert _worked(10, [10, 30, 1]) == [
        "study.cpu: cell 1 of 10",
        "study.cpu: cell 2 of 10, about 2 min left",
        "study.cpu: cell 3 of 10, about 3 min left",
    ]


def test_cells_of_an_earlier_sitting_count_but_not_their_time() -> None:
    assert _worked(60, [3, 3], kept=11) == [
        "study.cpu: cell 12 of 60",
        "study.cpu: cell 13 of 60, about 2 min left",
    ]


def test_without_a_number_the_time_so_far_is_said() -> None:
    assert _worked(None, [10, 30, 1])[1:] == [
        "study.cpu: cell 2, 10 s so far",
        "study.cpu: cell 3, 40 s so far",
    ]


def test_more_cells_than_expected_are_not_denied() -> None:
    assert _worked(1, [10, 10])[-1] == "study.cpu: cell 2 of 2, about 10 s left"


def test_a_line_every_few_seconds_at_most() -> None:
    said = _worked(100, [1.0] * 12, every=5.0)
    assert [line.split(",")[0] for line in said] == [f"study.cpu: cell {n} of 100" for n in (1, 6, 11)]


def test_a_cell_asked_for_twice_counts_once(tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    lab = Lab(tmp_path / "mine.cpu" / "analysis", {}, say=Talk(console))
    lab.expect(2)
    for name in ("one", "one", "one", "two"):
        lab.cell(name, dict)
    assert console.export_text().splitlines() == ["mine.cpu: cell 1 of 2"]
    lab.progress.every = 0.0
    lab.cell("three", dict)
    assert "cell 3 of 3" in console.export_text()
