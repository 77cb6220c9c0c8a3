from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tailgrad.evaluate import evaluate_predictions
from tailgrad.report.advice import advise
from tailgrad.report.blocks import Check
from tailgrad.report.causes import causes, lead
from tailgrad.report.folders import Run, read_run, read_study
from tailgrad.report.headline import lead as headline
from tailgrad.report.method_causes import causes_of_methods
from tailgrad.report.winner import winner

SIZE, EACH = 6, 40


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return read_run(run_folder)


def predicted(run: Run, guess: np.ndarray) -> Run:
    target = np.repeat(np.arange(SIZE), EACH)
    return replace(run, test=evaluate_predictions(guess, target, run.classes, resamples=50), interference={})


def tone(run: Run, title: str) -> Check:
    (found,) = [one for one in causes(run) if one.title == title]
    return found


def test_a_perfect_model_has_no_cause(run: Run) -> None:
    found = causes(predicted(run, np.repeat(np.arange(SIZE), EACH)))
    assert not any(one.tone == "warn" for one in found)
    assert lead(found).startswith("Nothing that was looked at stands out")


def test_a_leaning_to_frequent_classes_is_found_and_is_no_likeness(run: Run) -> None:
    guess = np.repeat(np.arange(SIZE), EACH)
    for k in range(2, SIZE):  # rare images go to the two frequent classes in turn
        guess[k * EACH : k * EACH + 5 * k] = np.arange(5 * k) % 2
    found = predicted(run, guess)
    assert tone(found, "A leaning to frequent classes").tone == "warn"
    assert tone(found, "Classes that look alike").tone == "fine"
    few = tone(found, "Too few training images")
    assert few.tone == "warn"
    assert "Fewer than 20 training images" in few.text


def test_causes_and_advice_hold_one_another_to_the_same_bar(run: Run) -> None:
    target = np.repeat(np.arange(SIZE), EACH)
    bars = []
    for wrong in range(EACH):  # more and more images of the rarest class go to the most frequent one
        guess = np.where((target == SIZE - 1) & (np.arange(len(target)) % EACH < wrong), 0, target)
        found = predicted(run, guess)
        advised = {one.kind for one in advise(None, found.test)}
        stands_out = tone(found, "A leaning to frequent classes").tone == "warn"
        bars.append(stands_out)
        assert stands_out == ("prior bias" in advised)
        few = tone(found, "Too few training images")
        unclear = "repeat with more seeds or test images" in {one.remedy for one in advise(None, found.test)}
        assert not (unclear and few.tone == "fine")
    assert set(bars) == {True, False}


def test_look_alike_classes_are_named(run: Run) -> None:
    guess = np.repeat(np.arange(SIZE), EACH)
    guess[2 * EACH : 2 * EACH + 15], guess[3 * EACH : 3 * EACH + 15] = 3, 2
    guess[0], guess[EACH], guess[4 * EACH], guess[5 * EACH] = 5, 0, 1, 4
    found = tone(predicted(run, guess), "Classes that look alike")
    assert (found.verdict, found.tone) == ("1 pair", "warn")
    assert "30 errors" in found.text


def test_without_a_measurement_conflict_is_not_called_fine(run: Run) -> None:
    found = causes(replace(run, interference={}))
    tones = {one.title: one.tone for one in found}
    assert tones["Classes that oppose one another"] == "missing"
    assert tones["Frequent classes that push rare ones back"] == "missing"
    assert "classes that oppose one another" in lead(found)


def test_the_headline_names_the_worst_classes_in_order(run: Run) -> None:
    ranked = sorted(run.test.classes, key=lambda row: row.f1.value)
    said = headline(run.test)
    places = [said.index(f"at {row.f1.value:.3f}") for row in ranked[:3]]
    assert places == sorted(places)
    assert "The frequent third" in said


def test_causes_are_counted_over_the_runs_of_a_method(study_folder: Path) -> None:
    study = read_study(study_folder)
    (table,), said = causes_of_methods(study)
    rows = {row[0]: row[1:] for row in table.rows}
    for place, runs in enumerate(study.runs.values()):
        warned = sum(tone(run, "Too few training images").tone == "warn" for run in runs)
        assert rows["Too few training images"][place] == f"{warned} of {len(runs)}"
    assert said.startswith("In baseline")


def test_the_winner_is_named_with_what_is_sure(study_folder: Path) -> None:
    study = read_study(study_folder)
    rows = [{"method": m, "metric": "macro_f1", "mean": v} for m, v in (("a", 0.5), ("b", 0.7), ("c", 0.6))]
    ends = {"metric": "macro_f1", "against": "a", "low": 0.1, "high": 0.3, "p": 0.01, "p_holm": 0.02}
    paired = [
        {"method": "b", "mean": 0.2, "verdict": "better", **ends},
        {"method": "c", "mean": 0.1, "verdict": "cannot be told", **ends},
    ]
    said = winner({"metric": "macro_f1", "rows": rows, "paired": paired}, study)
    assert said.startswith("Highest mean macro-F1: b, 0.700.")
    assert "b better by +0.200 (+0.100 to +0.300, p 0.020)" in said
    assert "Not to be told from it: c." in said
    one = replace(study, runs={name: runs[:1] for name, runs in study.runs.items()})
    assert "says nothing about the methods" in winner({"rows": rows, "paired": paired}, one)
    assert winner({}, study) == "There is nothing to compare yet."
    many = [{**paired[0], "method": f"m{i}", "verdict": "worse"} for i in range(6)]
    told = winner({"metric": "macro_f1", "rows": rows, "paired": many}, study)
    assert all(f"m{i} worse" in told for i in range(6))
