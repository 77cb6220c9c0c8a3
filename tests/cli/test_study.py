"""`tailgrad study` and `tailgrad reproduce`: what they print, how they stop, and what they refuse."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tailgrad.cli.output import interval
from tailgrad.evidence import studies
from tailgrad.recipes.run_folder import read_json

SET = {
    "data": {"size": 8, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 1, "batch_size": 8, "precision": "float32", "channels_last": False, "threads": 1},
    "interference": {"enabled": False},
}
CLAIM = {
    "id": "gain",
    "text": "focal loss is better",
    "source": "a paper",
    "group": "first",
    "method": "focal",
    "against": "ce",
    "above": 0,
    "printed": 0.0525,
}


def plan(**changes: Any) -> dict[str, Any]:
    group = {"regime": "quick", "methods": ["ce", "focal"], "seeds": 2}
    return {
        "question": "Does it work?",
        "data": {"pictures": None},
        "needs": {"pictures": "any photographs"},
        "set": SET,
        "groups": {"first": group, "second": {"like": "first", "methods": ["ce"], "seeds": 1}},
        "claims": [CLAIM],
    } | changes


def write(content: Any, name: str = "mine.yaml") -> str:
    Path(name).write_text(yaml.safe_dump(content))
    return name


@pytest.fixture(scope="module")
def finished(cli: Any, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("study")
    (folder / "mine.yaml").write_text(yaml.safe_dump(plan()))
    words = ["study", folder / "mine.yaml", "--data", photos, "--out", folder / "out"]
    done = cli(*words, "--record", folder / "results")
    assert done.status == 0, done.err
    return folder, words, done


def test_the_end_of_a_study_is_a_line_a_claim_and_a_table_a_group(finished: Any) -> None:
    folder, _, done = finished
    claim = read_json(folder / "out" / "evidence.json")["claims"][0]
    line = next(line for line in done.out.splitlines() if CLAIM["text"] in line)
    assert line.startswith(claim["verdict"])
    assert f" {interval(claim['found'], '.3g')} " in line
    assert line.endswith("0.0525")
    for group, seeds in (("first", "2 seeds"), ("second", "1 seed")):
        assert f"{group}: means over {seeds}, differences to ce" in done.out
    assert re.search(r"(?m)^focal +0\.\d{3} ", done.out)
    assert done.out.splitlines()[-1] == f"evidence: {folder / 'out' / 'evidence.json'}"
    assert f"recorded: {folder / 'results' / 'mine.full'}" in done.err
    names = {path.name for path in (folder / "results" / "mine.full").iterdir()}
    assert names == {"evidence.json", "chart.svg"}


def test_json_is_one_object(cli: Any, finished: Any) -> None:
    _, words, _ = finished
    done = cli(*words, "--resume", "--json")
    found = json.loads(done.out)
    assert {"folder", "claims", "groups", "command", "commit"} <= found.keys()
    assert done.err.count("test macro-F1") == 0, "nothing is trained again"


def test_a_folder_that_is_taken(cli: Any, finished: Any) -> None:
    _, words, _ = finished
    assert re.search("study folder must be new, got .* or add --resume", cli(*words).error)


def test_the_time_runs_out_and_the_printed_command_goes_on(
    cli: Any, finished: Any, photos: Path, here: Path
) -> None:
    folder, _, _ = finished
    shutil.copytree(folder / "out", "out")
    shutil.rmtree(here / "out" / "second")
    words = ["study", write(plan()), "--data", f"pictures={photos}", "--out", "out", "--resume"]
    stopped = cli(*words, "--max-minutes", "0.0000001")
    assert (stopped.status, stopped.out) == (130, "")
    assert "Traceback" not in stopped.err
    last = stopped.err.splitlines()[-1]
    assert last.startswith("resume with: tailgrad study mine.yaml ")
    again = shlex.split(last)[3:]
    assert again[-1] == "0.0000001"
    done = cli(*again, "--max-minutes", "9")
    assert done.status == 0, done.err
    assert "second: means over 1 seed" in done.out


def test_ctrl_c_ends_with_130_and_the_resume_line(photos: Path, here: Path) -> None:
    long = plan(set=SET | {"train": SET["train"] | {"epochs": 100_000}})
    words = ["study", write(long), "--data", str(photos), "--out", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tailgrad", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    try:
        end = time.monotonic() + 120
        while not list(here.glob("out/first/runs/*/metrics.jsonl")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.endswith(f"-m tailgrad study mine.yaml --data {photos} --out out --resume")


def test_a_group_that_diverges_ends_with_1_and_the_others_are_kept(
    cli: Any, photos: Path, here: Path
) -> None:
    wild = plan(claims=[])
    wild["groups"]["first"] |= {"seeds": 1, "methods": ["ce"], "set": {"optim": {"name": "sgd", "lr": 1e30}}}
    wild["groups"]["second"] = {"regime": "quick", "methods": ["ce"], "seeds": 1}
    done = cli("study", write(wild), "--data", photos, "--out", "out")
    assert (done.status, done.out) == (1, "")
    assert re.search("error: 1 of 2 groups of out failed: first: .*loss is nan", done.err.splitlines()[-1])
    assert (here / "out" / "second" / "comparison.json").exists()
    assert read_json(here / "out" / "evidence.json")["finished"] == ["second"]


@pytest.mark.parametrize(
    ("changes", "words", "said"),
    [
        ({}, [], "data must give a source for 'pictures' .any photographs.* --data pictures=SOURCE"),
        (
            {},
            ["--data", "picture=PHOTOS"],
            "data must name slots of study 'mine', got 'picture'",
        ),
        ({}, ["--data", "gone/"], "group 'first' of study 'mine': .*gone"),
        ({}, ["--data", "pictures=PHOTOS", "--data", "PHOTOS"], "--data must be SLOT=SOURCE, each slot once"),
        ({}, ["--data", "PHOTOS", "--only", "frist"], "only must name groups .* did you mean 'first'"),
        ({}, ["--data", "PHOTOS", "--size", "small"], "size must be one of full, got 'small'"),
        ({}, ["--data", "PHOTOS", "--set", "loss.name=focal"], "sets keys of the regime only, got 'loss'"),
        ({}, ["--data", "PHOTOS", "--set", "optim.lrr=1"], "optim.lrr is not a key"),
        ({"sead": 3}, ["--data", "PHOTOS"], "sead is not a key of a study; did you mean 'seeds'"),
        ({"claims": [CLAIM | {"method": "csba"}]}, ["--data", "PHOTOS"], "method of claim 'gain' .*'csba'"),
        ({"claims": [CLAIM | {"below": 1}]}, ["--data", "PHOTOS"], "exactly one of above, below and near"),
        ({"analysis": "nothing"}, ["--data", "PHOTOS"], "analysis must be a module"),
    ],
)
def test_bad_input_ends_with_2_before_anything_is_trained(
    cli: Any, photos: Path, here: Path, changes: Any, words: list[str], said: str
) -> None:
    given = [word.replace("PHOTOS", str(photos)) for word in words]
    assert re.search(said, cli("study", write(plan(**changes)), *given).error)
    assert [path.name for path in here.iterdir()] == ["mine.yaml"]


def test_a_file_that_is_a_list_and_one_that_is_not_there(cli: Any, here: Path) -> None:
    assert "must hold a YAML mapping, got list" in cli("study", write([1, 2])).error
    assert "study must be a known name or a YAML file, got 'gone.yaml'" in cli("study", "gone.yaml").error


def test_reproduce_lists_its_studies_within_eighty_columns(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = cli("reproduce")
    assert (shown.status, shown.err) == (0, "")
    entries = json.loads(cli("reproduce", "--json").out)["studies"]
    assert {entry["name"] for entry in entries} == set(studies())
    for entry in entries:
        assert re.search(rf"(?m)^{entry['name']} \({entry['claims']} claim", shown.out)
        assert f"  {entry['question']}\n" in shown.out
        assert len(entry["question"]) < 130
        assert list(entry["work"]) == entry["sizes"]
        for slot in entry["needs"]:
            assert f"needs --data {slot}=SOURCE: " in shown.out


def test_reproduce_says_how_much_every_size_trains(cli: Any) -> None:
    shown = cli("reproduce").out
    controls = shown.split("csba-controls (")[1].split("\n")[2]
    assert controls.startswith("  full: 169 runs in 4 groups; cpu: 25 runs in 1 group; smoke: ")
    alone = shown.split("f01-minority-initial-drop (")[1].split("\n")[2]
    assert alone == "  full: its analysis alone; cpu: its analysis alone; smoke: its analysis alone"


def test_reproduce_suggests_the_nearest_name(cli: Any, here: Path) -> None:
    assert (
        "name must be a known study, got 'csba-pvv'; did you mean 'csba-pv'"
        in cli("reproduce", "csba-pvv").error
    )
    assert list(here.iterdir()) == []


def test_compare_crosses_seeds_with_splits(cli: Any, photos: Path, fast: list[str], here: Path) -> None:
    words = ["compare", photos, "--regime", "quick", "--methods", "ce", "--seeds", 1, *fast, "--out", "out"]
    small = ["--set", "model.name=resnet8", "--set", "data.size=8"]
    done = cli(*words, *small, "--split-seeds", 2)
    assert done.status == 0, done.err
    assert {path.name for path in (here / "out" / "runs").iterdir()} == {
        f"photos.quick.ce.split{i}.seed0" for i in (0, 1)
    }
    assert "split_seeds must be in [1, inf]" in cli(*words[:-1], "other", "--split-seeds", 0).error
