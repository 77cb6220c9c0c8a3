"""What is handed out: one version everywhere, and archives that hold what they need and nothing else."""

import os
import runpy
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import tailgrad

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "tailgrad/py.typed",
    "tailgrad/report/style.css",
    "tailgrad/report/template.html",
    "tailgrad/recipes/methods/csba.yaml",
    "tailgrad/recipes/regimes/folder.yaml",
    "tailgrad/evidence/studies/csba-pv.yaml",
    "tailgrad/evidence/published/csba-pv.yaml",
)


def _project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert isinstance(project, dict)
    return project


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert _project()["version"] == tailgrad.__version__ == citation["version"]
    assert citation["license"] == _project()["license"]


def test_every_extra_is_tried_by_itself() -> None:
    extras = _project()["optional-dependencies"]
    assert isinstance(extras, dict)
    wanted = {*extras} - {"dev"}
    made = next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("EXTRAS := ")
    )
    assert set(made.removeprefix("EXTRAS := ").split()) == wanted
    assert set(runpy.run_path(str(ROOT / "tests/try_extra.py"))["USES"]) == wanted


@pytest.mark.parametrize(
    "name", sorted(path.name for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
)
def test_every_form_asks_something_that_must_be_answered(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE" / name).read_text(encoding="utf-8"))
    assert {"name", "description", "body"} == set(form)
    assert any(field.get("validations", {}).get("required") for field in form["body"])
    assert len({field["id"] for field in form["body"]}) == len(form["body"])


@pytest.mark.slow
def test_archives_hold_every_file_of_the_package_and_the_command_starts(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    (source,) = tmp_path.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    tracked = subprocess.run(
        ["git", "ls-files", "src/tailgrad"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    package = {line.removeprefix("src/") for line in tracked.stdout.splitlines() if (ROOT / line).exists()}
    assert package <= inside
    assert set(NEEDED) <= inside
    assert not [name for name in inside if name.startswith(("tests", "docs", "results", "benchmarks"))]
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in NEEDED} <= names
    assert {"pyproject.toml", "LICENSE", "README.md"} <= names
    said = subprocess.run(
        [sys.executable, "-m", "tailgrad", "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout.strip() == tailgrad.__version__
