"""Where a figure comes from, without a path of the machine."""

import sys

import pytest

import tailgrad
from tailgrad.evidence.provenance import plain_command, provenance


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["/usr/bin/tailgrad", "study", "/home/me/a.yaml"], "tailgrad study DATA/a.yaml"),
        (["x/tailgrad/__main__.py", "reproduce", "f1"], "tailgrad reproduce f1"),
        (["tailgrad", "--data", "pv=../in here/pv"], "tailgrad --data pv='DATA/pv'"),
        (["tailgrad", "--data", "pv=~/a=b/pv"], "tailgrad --data pv=DATA/pv"),
        (["tailgrad", "/a=b/c"], "tailgrad DATA/c"),
        (["tailgrad", "--set", "optim.lr=0.1", "--out", "./x"], "tailgrad --set optim.lr=0.1 --out DATA/x"),
    ],
)
def test_folders_are_taken_from_a_command(words: list[str], wanted: str) -> None:
    assert plain_command(words).replace("'", "") == wanted.replace("'", "")


def test_everything_is_known_of_the_present_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/tailgrad", "study", "/somewhere/mine.yaml"])
    found = provenance()
    assert found["command"] == "tailgrad study DATA/mine.yaml"
    assert found["versions"]["tailgrad"] == tailgrad.__version__
    assert found["hardware"]["cores"] >= 1
    assert found["commit"]
    assert "somewhere" not in str(found)


def test_without_a_source_tree_the_version_stands_for_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailgrad, "__file__", "/nowhere/lib/tailgrad/__init__.py")
    assert provenance()["commit"] == f"version {tailgrad.__version__}"
