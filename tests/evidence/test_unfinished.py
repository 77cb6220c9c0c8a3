"""What a study has finished goes elsewhere without its weights, and the study goes on there."""

import importlib.util
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tailgrad.evidence import StudyFile, study

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "unfinished.py"


@pytest.fixture
def unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("unfinished", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PLACE", tmp_path / "kept")
    return module


def test_a_study_goes_on_where_it_was_unpacked(
    unfinished: Any, whole: Any, plan: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "begun" / "tiny"
    shutil.copytree(whole.folder, begun)
    (begun / "evidence.json").unlink()
    lost = sorted((begun / "fixed" / "runs").iterdir())[0]
    (lost / "result.json").unlink()
    unfinished.main(["keep", str(begun)])
    assert capsys.readouterr().out.startswith("7 finished runs of tiny: 1 archives")
    with tarfile.open(tmp_path / "kept" / "tiny.00.tar.xz") as archive:
        names = archive.getnames()
    assert not [
        name for name in names if name.endswith((".safetensors", ".html")) or lost.name in name.split("/")
    ]

    other = tmp_path / "other"
    unfinished.main(["restore", "tiny", str(other)])
    assert "7 finished runs" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in other.rglob("result.json")}
    assert len(before) == 7
    found = study(StudyFile.model_validate(plan), out=other, resume=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is trained twice"
    assert found.content["claims"] == whole.content["claims"]
    assert found.content["missing"] == []


def test_archives_stay_small_and_hold_every_file(
    unfinished: Any, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "BYTES", 5_000)
    unfinished.keep(whole.folder, tmp_path / "kept")
    archives = sorted((tmp_path / "kept").iterdir())
    assert len(archives) > 1
    assert all(path.stat().st_size <= 5_000 for path in archives)
    unfinished.restore(tmp_path / "kept", whole.folder.name, tmp_path / "back")
    back = {path.relative_to(tmp_path / "back") for path in (tmp_path / "back").rglob("*") if path.is_file()}
    assert len(list((tmp_path / "back").glob("*/runs/*/predictions.parquet"))) == 8
    for path in back:
        before = (whole.folder / path).read_bytes()
        if path.name == "environment.json":
            before = before.replace(str(whole.folder).encode(), whole.folder.name.encode())
        assert (tmp_path / "back" / path).read_bytes() == before


def test_archives_do_not_tell_where_the_study_lay(unfinished: Any, whole: Any, tmp_path: Path) -> None:
    file = next(whole.folder.glob("*/runs/*/environment.json"))
    told = file.read_bytes()
    file.write_text('{"command": "tailgrad --out ' + str(whole.folder) + '/x"}')
    try:
        unfinished.keep(whole.folder, tmp_path / "kept")
    finally:
        file.write_bytes(told)
    unfinished.restore(tmp_path / "kept", whole.folder.name, tmp_path / "back")
    found = (tmp_path / "back" / file.relative_to(whole.folder)).read_text()
    assert found == '{"command": "tailgrad --out tiny/x"}'


def test_archives_of_before_are_replaced(unfinished: Any, whole: Any, tmp_path: Path) -> None:
    old = tmp_path / "kept" / f"{whole.folder.name}.07.tar.xz"
    old.parent.mkdir()
    old.write_bytes(b"of yesterday")
    unfinished.keep(whole.folder, tmp_path / "kept")
    assert not old.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["keep", "nowhere"], "folder must be that of a study, got nowhere"),
        (["restore", "other", "new"], "name must be a study that is kept, got 'other'; kept: none"),
    ],
)
def test_what_cannot_be_is_said(unfinished: Any, words: list[str], says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        unfinished.main(words)


def test_nothing_is_unpacked_over_a_folder(unfinished: Any, whole: Any, tmp_path: Path) -> None:
    unfinished.keep(whole.folder, tmp_path / "kept")
    with pytest.raises(SystemExit, match="must be new"):
        unfinished.main(["restore", whole.folder.name, str(tmp_path)])
