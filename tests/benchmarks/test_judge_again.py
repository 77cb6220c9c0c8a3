"""Committed records hold the verdicts that today's rule comes to."""

import json
from pathlib import Path

import pytest
from benchmarks.judge_again import main

from tailgrad.evidence import Claim, Figure
from tailgrad.evidence.claim import Verdict
from tailgrad.evidence.publish import committed
from tailgrad.evidence.record import claim_record


def test_every_recorded_verdict_and_chart_follows_from_the_figures_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def _record(place: Path, word: str) -> Path:
    claim = Claim(id="gain", text="a is better", source="ours", figure="a", above=0)
    found = claim_record(claim, Verdict(word, "as it was"), Figure.over([0.02, 0.03, 0.04]))
    content = {"study": "mine", "size": "cpu", "claims": [found], "groups": {}, "figures": {}}
    path = place / "mine.cpu" / "evidence.json"
    path.parent.mkdir()
    path.write_text(json.dumps(committed(content) | {"left_out": ["confusion"]}), encoding="utf-8")
    return path


def test_a_verdict_of_another_rule_is_told_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _record(tmp_path, "cannot be told")
    before = path.read_text(encoding="utf-8")
    assert main(["--check"], tmp_path) == 1
    assert "mine.cpu: gain: cannot be told -> confirmed" in capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == before
    assert main([], tmp_path) == 0
    after, old = json.loads(path.read_text(encoding="utf-8")), json.loads(before)
    assert after["claims"][0]["verdict"] == "confirmed"
    assert after["claims"][0]["found"] == old["claims"][0]["found"]
    assert after["left_out"] == ["confusion"]
    assert after["judged_again"]
    assert path.with_name("chart.svg").exists()
    assert main(["--check"], tmp_path) == 0


def test_a_chart_of_other_figures_is_told_and_drawn_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _record(tmp_path, "confirmed")
    assert main([], tmp_path) == 0
    chart, record = path.with_name("chart.svg"), path.read_bytes()
    drawn = chart.read_text(encoding="utf-8")
    chart.write_text(drawn.replace("mine", "yours"), encoding="utf-8")
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out == "mine.cpu: chart.svg is not drawn from these figures\n"
    assert main([], tmp_path) == 0
    assert chart.read_text(encoding="utf-8") == drawn
    assert path.read_bytes() == record
    assert main(["--check"], tmp_path) == 0
