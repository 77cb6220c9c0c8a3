"""Names, keys, values and folders that are wrong: the nearest valid one is named and nothing is written."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

ASSIGNMENTS = [
    ("optm.lr=0.1", "optm is not a key of the configuration; did you mean 'optim'"),
    ("optim.lrr=0.1", "optim.lrr is not a key of the configuration; did you mean 'lr'"),
    ("optim.lr=fast", "optim.lr must be a number, got 'fast'"),
    ("optim.lr=-1", "optim.lr must be greater than 0, got -1"),
    ("optim.lr=.nan", "optim.lr must be (greater than 0|finite), got nan"),
    ("optim.name=adm", "got 'adm'; did you mean 'adam'"),
    ("optim=3", "optim must be a mapping of keys to values, got 3"),
    ("train=3", "train must be a mapping of keys to values, got 3"),
    ("train.max_minutes=soon", "train.max_minutes must be a number, got 'soon'"),
    ("data.profile=expnential", "got 'expnential'; did you mean 'exponential'"),
    ("data.size=0", "data.size must be greater than or equal to 1, got 0"),
    ("data.size=[", r"--set data.size must be a YAML value, got '\['; quote it"),
    ("seed", "--set must be key=value, got 'seed'"),
    ("=1", "--set must be key=value, got '=1'"),
    ("split_seed=-1", "split_seed must be greater than or equal to 0, got -1"),
    ("model.name=resnt32", "model.name must be a known name, got 'resnt32'; did you mean 'resnet32'"),
    ("model.name=timm/resnet1888", "a name that timm knows, got 'resnet1888'; did you mean resnet18"),
    ("train.augment=[flop]", "train.augment must be a known name, got 'flop'; did you mean 'flip'"),
    ("train.monitor=f1", "train.monitor must be 'macro_f1', 'accuracy'"),
    ("train.monitor=focus_f1", "set --focus CLASS"),
    ("focus=thn", "focus must be a known name, got 'thn'; did you mean 'thin'"),
]


@pytest.mark.parametrize(("assignment", "said"), ASSIGNMENTS)
@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_wrong_assignment(
    cli: Any, photos: Path, fast: list[str], here: Path, command: str, assignment: str, said: str
) -> None:
    refused = cli(command, photos, "--regime", "quick", *fast, "--set", assignment)
    assert re.search(said, refused.error)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("head.name=cbsa", "head.name must be a known name, got 'cbsa'; did you mean 'csba'"),
        ("head.options.dropout=2", "dropout"),
        ("head.options.branch=2", "head.options.branch is not an option of csba; did you mean 'branches'"),
        ("loss.name=focl", "loss.name must be a known name, got 'focl'; did you mean 'focal'"),
        ("loss.options.wieghts=inverse", "loss.options.wieghts is not an option.*did you mean 'weights'"),
    ],
)
def test_a_wrong_part_of_a_method(
    cli: Any, photos: Path, fast: list[str], here: Path, assignment: str, said: str
) -> None:
    assert re.search(said, cli("train", photos, "--recipe", "quick", *fast, "--set", assignment).error)
    assert list(here.iterdir()) == []
    in_study = cli("compare", photos, "--regime", "quick", *fast, "--set", assignment)
    assert "compare sets keys of the regime only" in in_study.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["train", "--method", "cbsa"],
            "method must be a known name or a YAML file, got 'cbsa'; did you mean",
        ),
        (["train", "--recipe", "quik"], "recipe must be .* did you mean 'quick'"),
        (["train", "--regime", "quik"], "regime must be .* did you mean 'quick'"),
        (["train", "--recipe", "gone.yaml"], "recipe must be a known name or a YAML file, got 'gone.yaml'"),
        (["compare", "--regime", "plain"], "regime must be .* did you mean 'plain-200'"),
        (["compare", "--methods", "baseline,cbsa"], "did you mean 'csba'"),
        (["compare", "--methods", "csba,csba"], "methods must be distinct, got 'csba' twice"),
        (["compare", "--methods", ","], "methods must hold at least one name"),
        (["compare", "--seeds", "0"], "seeds must be in"),
        (["train", "--max-minutes", "0"], "train.max_minutes must be greater than 0"),
        (["diagnose", "--model", "trpath"], "did you mean 'tripath'"),
        (["diagnose", "--model", "tripath", "--part", "tst"], "part must be .* did you mean 'test'"),
        (["diagnose", "--set", "interference.parameters=bakbone"], "parameters must match at least one"),
    ],
)
def test_a_wrong_option(
    cli: Any, photos: Path, fast: list[str], here: Path, words: list[str], said: str
) -> None:
    command, *options = words
    assert re.search(said, cli(command, photos, *fast, *options).error)
    assert list(here.iterdir()) == []


FILES = {
    "an unknown section": (
        "--method",
        "hed: {name: csba}",
        "'hed', which is not a key .* did you mean 'head'",
    ),
    "a section of the regime": (
        "--method",
        "optim: {lr: 1}",
        "may set only head, loss, .* got 'optim'",
    ),
    "an unknown head": ("--method", "head: {name: cbsa}", "did you mean 'csba'"),
    "no mapping": ("--method", "- head", "must hold a YAML mapping, got list"),
    "nothing": ("--recipe", "", "must hold a YAML mapping, got NoneType"),
    "no YAML": ("--recipe", "regime: [", "must be readable YAML, got .* line 2, column 1"),
    "an unknown key": ("--recipe", "regime: quick\nsed: 3", "sed is not a key .* did you mean 'seed'"),
    "an unknown regime": ("--recipe", "regime: quik", "did you mean 'quick'"),
    "an unknown method": ("--recipe", "regime: quick\nmethod: cbsa", "did you mean 'csba'"),
    "a wrong value": (
        "--regime",
        "optim: {lr: 0}",
        "optim.lr must be greater than 0, got 0",
    ),
    "a wrong name": ("--regime", "schedule: {name: cosin}", "did you mean 'cosine'"),
}


@pytest.mark.parametrize(("option", "text", "said"), FILES.values(), ids=FILES)
def test_a_wrong_file(
    cli: Any, photos: Path, fast: list[str], here: Path, option: str, text: str, said: str
) -> None:
    (here / "mine.yaml").write_text(text)
    assert re.search(said, cli("train", photos, *fast, option, "mine.yaml").error)
    assert [path.name for path in here.iterdir()] == ["mine.yaml"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("command", ["train", "compare", "diagnose"])
def test_a_gpu_asked_for_and_absent(
    cli: Any, photos: Path, fast: list[str], here: Path, command: str
) -> None:
    refused = cli(command, photos, *fast, "--set", "train.device=cuda")
    assert "got 'cuda' and no GPU that PyTorch can use; set train.device=cpu" in refused.error
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_folder_that_is_taken(cli: Any, photos: Path, fast: list[str], here: Path, command: str) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "thesis.tex").write_text("do not touch")
    (here / "file").write_text("a file in the way")
    for out, said in {
        "mine": "must be new, got mine, which .*; choose another with --out",
        "file": "got file",
        "file/below": "cannot write file/below/.*: Not a directory",
        "n" * 300: "File name too long",
    }.items():
        assert re.search(said, cli(command, photos, "--regime", "quick", *fast, "--out", out).error)
    assert sorted(p.relative_to(here).as_posix() for p in here.rglob("*")) == [
        "file",
        "mine",
        "mine/thesis.tex",
    ]


def test_an_empty_folder_may_be_used_and_is_given_back_empty(
    cli: Any, photos: Path, fast: list[str], here: Path
) -> None:
    (here / "mine").mkdir()
    assert cli("train", photos, *fast, "--set", "focus=thn", "--out", "mine").status == 2
    assert list((here / "mine").iterdir()) == []
    cli("train", photos, *fast, "--set", "focus=thn", "--out", "deep/er/run")
    assert [path.name for path in here.iterdir()] == ["mine"]


def test_a_run_is_never_overwritten(cli: Any, run: Path, photos: Path, fast: list[str]) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    words = ["train", photos, "--recipe", "quick", "--out", run]
    assert "add --resume to go on with it" in cli(*words, *fast).error
    other = cli(*words, *fast, "--set", "optim.lr=0.5", "--resume")
    assert re.search("optim.lr must stay as the run in .* was started, with 0.001, got 0.5", other.error)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", ["diagnose", "predict", "report", "table"])
def test_a_folder_that_is_no_run_or_study(cli: Any, photos: Path, here: Path, command: str) -> None:
    (here / "file").write_text("x")
    (here / "empty").mkdir()
    more = [photos] if command == "predict" else []
    for place in ("gone", "file", "empty", "n" * 5000):
        assert place[:40] in cli(command, place, *more).error


def test_a_run_that_is_not_finished_or_damaged(cli: Any, run: Path, photos: Path, here: Path) -> None:
    copy = shutil.copytree(run, here / "copy")
    (copy / "result.json").write_text('{"half":')
    for words in (["report", copy], ["predict", copy, photos]):
        assert "result.json" in cli(*words).error
    (copy / "result.json").unlink()
    assert "finish" in cli("report", copy).error
    (copy / "checkpoint" / "weights.safetensors").write_bytes(b"half")
    assert "must be a readable safetensors file" in cli("predict", copy, photos).error
    save_file(
        load_file(run / "checkpoint" / "weights.safetensors"), copy / "checkpoint" / "weights.safetensors"
    )
    assert "without class names" in cli("predict", copy, photos).error
    (copy / "config.yaml").write_text("train: [")
    assert "must be a readable configuration" in cli("diagnose", copy).error


def test_a_checkpoint_of_another_class_set(
    cli: Any, run: Path, make_photos: Any, fast: list[str], here: Path
) -> None:
    weights = run / "checkpoint" / "weights.safetensors"
    given = ["--model", "tripath", "--set", "head.name=csba", "--weights", weights, *fast]
    make_photos(here / "more", {"round": 5, "square": 5, "thin": 5, "torn": 5})
    said = r"got 3 in \S+ and 4 in the data \(only in the checkpoint: none; only in the data: \['torn'\]\)"
    assert re.search(said, cli("diagnose", "more", *given).error)
    make_photos(here / "others", {"a": 5, "b": 5, "c": 5})
    assert "only in the checkpoint: ['round', 'square', 'thin']" in cli("diagnose", "others", *given).error
    save_file(load_file(weights), here / "bare.safetensors")
    bare = ["--model", "tripath", "--set", "head.name=csba", "--weights", "bare.safetensors", *fast]
    assert "weights must fit the network" in cli("diagnose", "more", *bare).error
    for wrong in ("gone.safetensors", here / "more"):
        assert "readable safetensors file" in cli("diagnose", "more", *given[:4], "--weights", wrong).error


def test_a_data_folder_that_gained_a_class(cli: Any, make_photos: Any, fast: list[str], here: Path) -> None:
    make_photos(here / "photos", {"round": 5, "square": 5})
    assert cli("train", "photos", "--recipe", "quick", *fast, "--out", "run").status == 0
    make_photos(here / "new", {"torn": 5})
    (here / "new" / "torn").rename(here / "photos" / "torn")
    assert "only in the data: ['torn']" in cli("diagnose", "run").error
    assert cli("predict", "run", "photos/torn").status == 0, "predicting needs no data but the images"


def test_model_and_weights_are_not_for_a_run(cli: Any, run: Path) -> None:
    for words in (["--model", "resnet32"], ["--weights", "w.safetensors"], ["--set", "train=4"]):
        assert re.search("has its own; leave them out|train must be", cli("diagnose", run, *words).error)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_read_only_folder(cli: Any, photos: Path, fast: list[str], here: Path, command: str) -> None:
    (here / "shut").mkdir(mode=0o500)
    assert "cannot write" in cli(command, photos, "--regime", "quick", *fast, "--out", "shut/run").error
