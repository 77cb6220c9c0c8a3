import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailgrad.checks import InputError
from tailgrad.interference import Interference
from tailgrad.report import write_report
from tailgrad.report.folders import read_run, read_study
from tailgrad.report.trust import missing, missing_of_study


def test_reads_what_training_wrote(run_folder: Path, nasty_names: tuple[str, ...]) -> None:
    run = read_run(run_folder)
    assert run.classes.names == nasty_names
    assert [row.name for row in run.test.classes] == list(nasty_names)
    assert set(run.interference) == {"early", "train", "heldout"}
    assert run.interference["heldout"].class_names == nasty_names
    assert run.config["optim"]["lr"] == 0.001


def test_line_separators_in_names_do_not_split_the_metrics(run_folder: Path) -> None:
    assert "\u2028" in (run_folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert [row["epoch"] for row in read_run(run_folder).epochs] == list(range(1, 16))


def test_study_keeps_the_order_of_methods_and_seeds(study_folder: Path) -> None:
    study = read_study(study_folder)
    assert list(study.runs) == ["baseline", "csba"]
    assert [run.result["seed"] for run in study.runs["csba"]] == [0, 1, 2]
    assert study.test_train_ratio == pytest.approx(120 / 444)
    assert study.unfinished == {}


def test_own_test_set_needs_no_ratio(tmp_path: Path, make_study: Callable[..., Any]) -> None:
    make_study(tmp_path, seeds=1)
    (tmp_path / "study.yaml").write_text("own_test: true")
    study = read_study(tmp_path)
    assert study.test_train_ratio is None
    assert set(study.runs) == {"baseline", "csba"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.jsonl", b'{"epoch": 1}\n{"epoch"'),
        ("config.yaml", b"a: ["),
        ("split.json", b"3"),
        ("environment.json", b"\xff\x00"),
        ("interference/heldout.json", b"{}"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_named(
    run_folder: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / name).write_bytes(content)
    run = read_run(folder)
    assert run.unreadable == (name.removesuffix(".json") if "/" in name else name,)
    (told,) = [words for words in missing(run) if words.startswith(run.unreadable)]
    assert told.endswith(" (it is there and cannot be read)")
    page = write_report(folder, images=False).read_text(encoding="utf-8")
    assert "cannot be read" in page
    assert "Is it good where it matters?" in page


def test_a_study_names_what_cannot_be_read_of_its_other_runs(
    tmp_path: Path, make_study: Callable[..., Any]
) -> None:
    make_study(tmp_path, seeds=2)
    last = sorted((tmp_path / "runs").iterdir())[-1]
    (last / "config.yaml").write_text("a: [")
    assert f"{last.name}/config.yaml (it is there and cannot be read)" in missing_of_study(
        read_study(tmp_path)
    )


@pytest.mark.parametrize("name", ["comparison.json", "study.yaml"])
def test_a_study_whose_own_files_cannot_be_read_is_told_from_its_runs(
    tmp_path: Path, study_folder: Path, name: str
) -> None:
    folder = shutil.copytree(study_folder, tmp_path / "study")
    (folder / name).write_bytes(b"{]")
    study = read_study(folder)
    assert missing_of_study(study)[-1] == f"{name} (it is there and cannot be read)"
    assert [run.name for run in study.all_runs] == [run.name for run in read_study(study_folder).all_runs]
    page = write_report(folder, images=False).read_text(encoding="utf-8")
    assert f"{name} (it is there and cannot be read)" in page


def test_a_run_whose_result_cannot_be_read_is_one_that_is_not_finished(
    tmp_path: Path, study_folder: Path
) -> None:
    folder = shutil.copytree(study_folder, tmp_path / "study")
    last = sorted((folder / "runs").iterdir())[-1]
    (last / "result.json").write_text('{"status": "fini')
    (last / "failure.json").write_text("[")
    study = read_study(folder)
    assert study.unfinished == {last.name: "result.json cannot be read"}
    assert last.name not in [run.name for run in study.all_runs]
    assert "result.json cannot be read" in write_report(folder, images=False).read_text(encoding="utf-8")


def test_old_results_without_optional_fields_are_read(tmp_path: Path, run_folder: Path) -> None:
    result = json.loads((run_folder / "result.json").read_text(encoding="utf-8"))
    (tmp_path / "result.json").write_text(json.dumps({k: result[k] for k in ("test", "method", "classes")}))
    run = read_run(tmp_path)
    assert run.val is None
    assert run.epochs == ()
    assert run.split == {}


def test_measurements_written_before_there_were_intervals_are_read(run_folder: Path, tmp_path: Path) -> None:
    old_fields = {
        *("class_names", "counts", "primary", "conflict", "null", "norms", "loss", "groups", "group_null"),
        *("layers", "layer_null", "layer_norms", "branches", "gates", "geometry", "$kind"),
    }
    for ending in ("json", "npz"):
        shutil.copy(run_folder / "interference" / f"heldout.{ending}", tmp_path)
    place = tmp_path / "heldout.json"
    tree = json.loads(place.read_text(encoding="utf-8"))
    tree["result"] = {key: value for key, value in tree["result"].items() if key in old_fields}
    place.write_text(json.dumps(tree), encoding="utf-8")
    found = Interference.load(tmp_path / "heldout")
    assert (found.excess_interval, found.contributions, found.alignment) == (None, None, None)
    assert "carry no interval" in found.summary()
    del tree["result"]["conflict"]
    place.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(InputError, match="path must hold a saved result, got .*conflict"):
        Interference.load(tmp_path / "heldout")
