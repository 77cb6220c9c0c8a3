"""A whole study: what it leaves, how it goes on, and what it refuses before anything is trained."""

import json
import shutil
import signal
import subprocess
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from tailgrad.checks import InputError
from tailgrad.engine import Diverged, Interrupted
from tailgrad.evidence import Analysis, Figure, Lab, Sitting, StudyFile, Table, reproduce, study
from tailgrad.recipes.run_folder import read_json
from tailgrad.recipes.study_runs import StudyRuns

pytestmark = pytest.mark.long

SAME = ("comparison", "runs", "split_sha256", "study", "interference")


def figures(content: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how the work was cut into sittings."""
    groups = {name: {key: group[key] for key in SAME} for name, group in content["groups"].items()}
    return {key: content[key] for key in ("claims", "figures", "tables", "seeds", "missing")} | groups


def test_every_group_is_a_comparison_of_its_own(whole: Any) -> None:
    assert sorted(path.name for path in whole.folder.iterdir()) == ["crossed", "evidence.json", "fixed"]
    for name, runs in (("fixed", 4), ("crossed", 4)):
        assert (whole.folder / name / "report.html").exists()
        assert len(whole.content["groups"][name]["runs"]) == runs


def test_the_evidence_says_all_that_it_rests_on(whole: Any) -> None:
    content = whole.content
    assert content == read_json(whole.folder / "evidence.json")
    assert (content["study"], content["size"], content["seeds"]) == ("tiny", "full", [0, 1])
    assert (content["finished"], content["missing"], content["failed"]) == (["crossed", "fixed"], [], {})
    assert {"command", "commit", "hardware", "versions", "date"} <= content.keys()
    assert content["groups"]["crossed"]["configuration"]["train"]["epochs"] == 1
    assert content["groups"]["fixed"]["study"]["methods"] == ["ce", "focal"]


def test_claims_are_judged_on_the_runs(whole: Any) -> None:
    runs = whole.content["groups"]["fixed"]["runs"]
    by_method: dict[str, list[float]] = {"ce": [], "focal": []}
    for run in sorted(runs, key=lambda run: run["seed"]):
        by_method[run["method"]].append(run["test"]["macro_f1"]["value"])
    gain, recall = whole.content["claims"]
    assert gain["found"]["values"] == pytest.approx(list(np.subtract(by_method["focal"], by_method["ce"])))
    ratio = np.mean([run["test"]["images"] / run["train_images"] for run in runs])
    assert gain["found"]["extra_variance"] == pytest.approx(ratio), "splits are drawn anew"
    splits: dict[int, list[float]] = {4: [], 7: []}
    for run in whole.content["groups"]["crossed"]["runs"]:
        splits[run["split_seed"]].append(run["test"]["classes"][0]["recall"]["value"])
    assert recall["found"]["values"] == pytest.approx([np.mean(splits[4]), np.mean(splits[7])])
    assert whole.verdicts == {claim["id"]: claim["verdict"] for claim in (gain, recall)}


def test_a_finished_study_that_is_resumed_trains_nothing(whole: Any, plan: Any, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("result.json")}
    again = study(StudyFile.model_validate(plan), out=whole.folder, resume=True)
    assert figures(again.content) == figures(whole.content)
    assert before == {path: path.stat().st_mtime_ns for path in whole.folder.rglob("result.json")}


def test_killed_and_resumed_is_the_same_as_undisturbed(whole: Any, plan: Any, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(plan))
    words = ["-m", "tailgrad", "study", "tiny.yaml", "--out", "killed"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, *words], cwd=tmp_path, text=True, **silent)
    end = time.monotonic() + 100
    try:
        while not list(tmp_path.glob("killed/fixed/runs/*/result.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "killed" / "evidence.json").exists()
    resumed = study(tmp_path / "tiny.yaml", out=tmp_path / "killed", resume=True)
    assert figures(resumed.content) == figures(whole.content)


def test_the_time_runs_out_and_the_study_goes_on(whole: Any, plan: Any, tmp_path: Path) -> None:
    tiny, out = StudyFile.model_validate(plan), tmp_path / "study"
    first = study(tiny, out=out, only=["crossed"])
    assert first.content["missing"] == ["fixed"]
    assert first.verdicts["gain"] == "cannot be told"
    with pytest.raises(Interrupted, match="time was used up"):
        study(tiny, out=out, resume=True, sitting=Sitting(max_minutes=1e-9))
    assert read_json(out / "evidence.json")["missing"] == ["fixed"], "what is finished is judged"
    last = study(tiny, out=out, resume=True)
    assert figures(last.content) == figures(whole.content)


def test_a_study_that_grows_keeps_what_it_was_until_it_has_grown(
    whole: Any, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_time(*_: Any) -> None:
        raise Interrupted("the time was used up")

    out = tmp_path / "grown"
    shutil.copytree(whole.folder, out)
    plan["groups"]["fixed"]["seeds"] = 3
    monkeypatch.setattr(StudyRuns, "train", out_of_time)
    with pytest.raises(Interrupted, match="time was used up"):
        study(StudyFile.model_validate(plan), out=out, resume=True)
    kept = read_json(out / "evidence.json")
    assert kept["missing"] == []
    assert [claim["found"] for claim in kept["claims"]] == [one["found"] for one in whole.content["claims"]]
    now, before = (content["groups"]["fixed"] for content in (kept, whole.content))
    assert now["comparison"] == before["comparison"]
    assert now["environment"] == before["environment"]
    assert {key: now["study"][key] for key in ("own_test", "differences")} == {
        key: before["study"][key] for key in ("own_test", "differences")
    }


def test_claims_that_move_once_there_is_a_figure_are_named(whole: Any, plan: Any, tmp_path: Path) -> None:
    out = shutil.copytree(whole.folder, tmp_path / "study")
    assert whole.content["changed_claims"] == []
    measured = [claim["id"] for claim in whole.content["claims"] if claim["found"] is not None]
    (moved,) = [claim for claim in plan["claims"] if claim["id"] == measured[0]]
    moved["text"] = "said in other words"
    assert study(StudyFile.model_validate(plan), out=out, resume=True).content["changed_claims"] == []
    before = moved.pop("above", None)
    moved |= {"below": 0.5} if before is not None else {"above": 0.5, "below": None}
    changed = study(StudyFile.model_validate(plan), out=out, resume=True)
    assert changed.content["changed_claims"] == [moved["id"]]
    back = study(StudyFile.model_validate(plan), out=out, resume=True)
    assert back.content["changed_claims"] == [moved["id"]], "once looked at, always so"


def test_a_group_that_diverges_does_not_stop_the_others(plan: Any, tmp_path: Path) -> None:
    plan["groups"]["fixed"] = {"methods": ["ce"], "seeds": 1, "set": {"optim": {"name": "sgd", "lr": 1e30}}}
    plan["claims"] = plan["claims"][1:]
    with pytest.raises(Diverged, match="1 of 2 groups of .* failed: fixed: .*loss is nan"):
        study(StudyFile.model_validate(plan), out=tmp_path / "study")
    found = read_json(tmp_path / "study" / "evidence.json")
    assert (found["finished"], found["missing"], list(found["failed"])) == (["crossed"], ["fixed"], ["fixed"])
    assert found["claims"][0]["found"] is not None
    assert str(tmp_path) not in found["failed"]["fixed"], "what is committed names no folder of this machine"


def fake(monkeypatch: pytest.MonkeyPatch, analyse: Any) -> None:
    name = "tailgrad.evidence.analyses.fake"
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.analyse = analyse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)


def test_an_analysis_reads_the_runs_and_gives_figures(
    whole: Any, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def analyse(lab: Lab) -> Analysis:
        runs = lab.runs("fixed")["focal"]
        values = lab.cell("values", lambda: {"epochs": [run.result()["epochs"] + 0.5 for run in runs]})
        table = Table("Epochs", ("run", "epochs"), tuple((run.path.name, "1") for run in runs))
        shift = lab.settings["shift"]
        return Analysis({"epochs": Figure.over([shift + v for v in values["epochs"]])}, [table], seeds=[9])

    fake(monkeypatch, analyse)
    out = shutil.copytree(whole.folder, tmp_path / "study")
    plan |= {"analysis": "fake", "settings": {"shift": 1}}
    claim = {"id": "epochs", "text": "some", "source": "ours", "figure": "epochs", "above": 0}
    plan["claims"] = [*plan["claims"], claim]
    found = study(StudyFile.model_validate(plan), out=out, resume=True)
    assert found.content["figures"]["epochs"]["value"] == 2.5
    assert found.content["claims"][-1]["why"].startswith("2.5 without an interval")
    assert found.content["seeds"] == [0, 1, 9]
    assert len(found.content["tables"][0]["rows"]) == 2
    plan["settings"] = {"shift": 2}
    with pytest.raises(InputError, match="must be made with the present settings"):
        study(StudyFile.model_validate(plan), out=out, resume=True)


def test_an_analysis_waits_for_all_groups(plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda _: pytest.fail("it was asked too early"))
    plan["analysis"] = "fake"
    found = study(StudyFile.model_validate(plan), out=tmp_path / "study", only=["crossed"])
    assert found.content["figures"] == {}


def change(plan: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The plan with one key changed, as in ``groups.fixed.regime``."""
    *above, last = place.split(".")
    plan = json.loads(json.dumps(plan))
    inner: Any = plan
    for key in above:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    inner[last] = value
    return plan


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("groups.crossed.methods", ["ce", "cbsa"], "method must be .* got 'cbsa'; did you mean 'csba'"),
        ("groups.crossed.regime", "quik", "group 'crossed' .*: regime must be .* did you mean 'quick'"),
        ("groups.crossed.data", "gone/", "group 'crossed' .*gone"),
        ("groups.crossed.set", {"loss": "focal"}, "group 'crossed' .*: compare sets keys of the regime only"),
        ("groups.crossed.set", {"optim": {"lrr": 1}}, "group 'crossed' .*: optim.lrr is not a key"),
        ("groups.crossed.focus", "thn", "group 'crossed' .* got 'thn'; did you mean 'thin'"),
        ("claims.0.group", "fixd", "group of claim 'gain' must be a known name.* did you mean 'fixed'"),
        ("claims.0.method", "csba", "method of claim 'gain' must be a known name, got 'csba'"),
        ("claims.0.against", "bce", "against of claim 'gain' must .* got 'bce'; did you mean 'ce'"),
        ("claims.0.metric", "macro_f2", "metric of claim 'gain' .* did you mean 'macro_f1'"),
        ("claims.0.metric", "focus_f1", "give the group a focus"),
        ("claims.1.metric", "recal of thin", "metric of claim 'found' .* did you mean 'recall'"),
        ("claims.1.metric", "recall of thn", "must name a class, got 'thn'; did you mean 'thin'"),
        ("analysis", "no_such_thing", "analysis must be a module of tailgrad.evidence.analyses"),
        ("data.pictures", None, "data must give a source for 'pictures' .*--data pictures=SOURCE"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    plan: Any, tmp_path: Path, place: str, value: Any, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        study(StudyFile.model_validate(change(plan, place, value)), out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_claim_about_a_figure_needs_an_analysis(plan: Any, tmp_path: Path) -> None:
    plan["claims"] = [{"id": "f", "text": "x", "source": "ours", "figure": "f", "above": 0}]
    with pytest.raises(InputError, match="figure of claim 'f' needs an analysis"):
        study(StudyFile.model_validate(plan), out=tmp_path / "study")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"picture": "x"}, "data must name slots of study 'tiny', got 'picture'; did you mean 'pictures'"),
        ({"pictures": "gone/"}, "group 'fixed' .*gone"),
        ("gone/", "gone"),
    ],
)
def test_wrong_data(plan: Any, tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        study(StudyFile.model_validate(plan), data, out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_one_source_for_several_slots_is_no_answer(plan: Any, tmp_path: Path) -> None:
    plan["data"] = {"digits": "digits-lt", "more": None}
    plan["groups"] = {"one": {"data": "digits", "methods": ["ce"]}}
    plan["claims"] = []
    with pytest.raises(InputError, match="data must say which of digits, more .* write --data digits=x"):
        study(StudyFile.model_validate(plan), "x", out=tmp_path / "study")


def test_a_folder_that_is_taken_and_a_group_that_is_not_there(plan: Any, tmp_path: Path) -> None:
    tiny = StudyFile.model_validate(plan)
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="study folder must be new"):
            study(tiny, out=out)
    with pytest.raises(InputError, match="only must name groups of study 'tiny', got 'fixd'"):
        study(tiny, out=tmp_path / "study", only=["fixd"])


def test_a_size_without_a_method_leaves_its_claims_open(plan: Any, tmp_path: Path) -> None:
    plan["sizes"] = {"s": {"groups": {"crossed": None, "fixed": {"methods": ["ce"], "seeds": 1}}}}
    found = study(StudyFile.model_validate(plan), size="s", out=tmp_path / "study")
    assert found.content["size"] == "s"
    assert [claim["why"] for claim in found.content["claims"]] == ["not measured yet"] * 2


def test_reproduce_knows_its_studies() -> None:
    with pytest.raises(InputError, match="a known study, got 'csba-pvv'; did you mean 'csba-pv'"):
        reproduce("csba-pvv")


def test_the_page_on_files_explains_every_key(whole: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
    section = page.split("## A study with claims")[1].split("\n## ")[0]
    shown = {*whole.content, *whole.content["groups"]["fixed"], *whole.content["claims"][0]["found"]}
    missing = [key for key in shown if f"`{key}`" not in section]
    assert not missing
    assert all(path.name in {"evidence.json", "fixed", "crossed"} for path in whole.folder.iterdir())
