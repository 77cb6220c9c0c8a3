"""Label noise times imbalance: figures of runs written by hand."""

from pathlib import Path
from typing import Any

import pytest

from tailgrad.checks import InputError
from tailgrad.evidence import Lab, reproduce
from tailgrad.evidence.analyses.noise_imbalance import analyse
from tailgrad.files import write_json, write_text
from tailgrad.recipes.compose import compose
from tailgrad.recipes.run_folder import config_text

COUNTS = [60, 40, 9, 3]


def write_group(
    folder: Path, name: str, noise: float, factor: float, recalls: dict[str, list[list[float]]]
) -> None:
    """Runs of one group: method -> recalls by split and class."""
    data: dict[str, Any] = {"label_noise": noise, "imb_factor": factor}
    for method, by_split in recalls.items():
        for split, values in enumerate(by_split):
            run = folder / name / "runs" / f"{method}.split{split}"
            config = compose("digits-lt", "digits", "ce", {"data": data, "split_seed": split})
            write_text(run / "config.yaml", config_text(config))
            rows = [{"support": 9, "recall": {"value": value}} for value in values]
            about = {"method": method, "seed": 0, "split_seed": split, "own_test": True, "train_images": 100}
            classes = {"names": list("abcd"), "counts": COUNTS if factor > 1 else [28] * 4}
            about |= {"status": "finished"}
            test = {"classes": rows, "images": 36}
            result = {**about, "wrong_labels": int(100 * noise), "classes": classes, "test": test}
            write_json(run / "result.json", result)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    def both(head: float, tail: float) -> list[list[float]]:
        return [[head + shift, 0.5, 0.5, tail + shift] for shift in (0.0, 0.02)]

    cells = {
        ("even-0", 0.0, 1): {"ce": both(0.9, 0.9), "normalized": both(0.8, 0.8)},
        ("even-40", 0.4, 1): {"ce": both(0.7, 0.6), "normalized": both(0.8, 0.7)},
        ("tail-0", 0.0, 20): {"ce": both(0.95, 0.5), "normalized": both(0.9, 0.3)},
        ("tail-40", 0.4, 20): {"ce": both(0.8, 0.1), "normalized": both(0.85, 0.0)},
    }
    for (name, noise, factor), recalls in cells.items():
        write_group(tmp_path, name, noise, factor, recalls)
    return Lab(tmp_path / "lab", {}, {name: tmp_path / name for name, _, _ in cells})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce.tail_cost", 0.5 - 0.1),
        ("ce.head_cost", 0.95 - 0.8),
        ("ce.tail_interaction", (0.5 - 0.1) - (0.9 - 0.6)),
        ("normalized.tail_interaction", (0.3 - 0.0) - (0.8 - 0.7)),
        ("normalized.tail_clean", 0.3 - 0.5),
        ("normalized.tail_noisy", 0.0 - 0.1),
        ("normalized.head_noisy", 0.85 - 0.8),
    ],
)
def test_figures_are_the_differences_they_say(lab: Lab, name: str, value: float) -> None:
    found = analyse(lab).figures[name]
    assert found.values == pytest.approx([value, value])


def test_shares_are_of_what_was_recognised_without_noise(lab: Lab) -> None:
    found = analyse(lab).figures["ce.tail_share_interaction"]
    first = (0.5 - 0.1) / 0.5 - (0.9 - 0.6) / 0.9
    second = (0.52 - 0.12) / 0.52 - (0.92 - 0.62) / 0.92
    assert found.values == pytest.approx([first, second])


def test_a_split_without_anything_to_lose_has_no_share(tmp_path: Path) -> None:
    def cells(low: list[float]) -> Lab:
        where = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, noise, factor in (("a", 0.0, 1), ("b", 0.4, 1), ("c", 0.0, 20), ("d", 0.4, 20)):
            recalls = [[0.9, 0.5, 0.5, tail if name == "c" else tail / 2] for tail in low]
            write_group(where, name, noise, factor, {"ce": recalls})
        return Lab(where / "lab", {}, {name: where / name for name in "abcd"})

    some = analyse(cells([0.0, 0.4, 0.8])).figures
    assert some["ce.tail_share_interaction"].values == pytest.approx([0.5, 0.5])
    assert "ce.tail_share_interaction" not in analyse(cells([0.0, 0.0])).figures


def test_the_table_shows_every_group_and_how_many_labels_were_wrong(lab: Lab) -> None:
    rows = analyse(lab).tables[0].rows
    assert len(rows) == 8
    assert rows[0][:4] == ("1", "0", "0.000", "ce")
    assert rows[-1][:4] == ("20", "0.4", "0.400", "normalized")


def test_a_group_without_cross_entropy_is_refused(tmp_path: Path) -> None:
    write_group(tmp_path, "one", 0.0, 20, {"normalized": [[0.5] * 4]})
    with pytest.raises(InputError, match="must have the method 'ce'"):
        analyse(Lab(tmp_path, {}, {"one": tmp_path / "one"}))


@pytest.mark.slow
def test_the_study_runs_at_its_smallest(tmp_path: Path) -> None:
    evidence = reproduce("noise-imbalance", size="smoke", out=tmp_path / "noise")
    assert len(evidence.verdicts) == 5
    runs = evidence.content["groups"]["tail-40"]["runs"]
    assert {run["split_seed"] for run in runs} == {0, 1}
