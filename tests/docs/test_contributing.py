"""The walk-through in CONTRIBUTING.md works as it is written."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tailgrad.losses
from tailgrad.recipes import compose
from tailgrad.recipes.assemble import make_loss
from tailgrad.types import ClassInfo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """Text of each file that the walk-through writes, by its place."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = dict(re.findall(r'(?ms)^```\w+ title="([^"]+)"\n(.*?)^```', page))
    assert set(found) == {
        "src/tailgrad/losses/poly1.py",
        "src/tailgrad/recipes/methods/poly1.yaml",
        "tests/losses/test_poly1.py",
    }
    return found


def test_the_loss_and_the_method_work(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("poly1")
    exec(files["src/tailgrad/losses/poly1.py"], module.__dict__)
    assert doctest.testmod(module).attempted
    assert not doctest.testmod(module).failed
    monkeypatch.setattr(tailgrad.losses, "Poly1Loss", module.Poly1Loss, raising=False)
    monkeypatch.setattr(tailgrad.losses, "__all__", [*tailgrad.losses.__all__, "Poly1Loss"])
    method = tmp_path / "poly1.yaml"
    method.write_text(files["src/tailgrad/recipes/methods/poly1.yaml"])
    config = compose("digits-lt", "digits", str(method))
    loss = make_loss(config, ClassInfo(("a", "b"), (3, 1)))
    assert config.method == "poly1"
    assert isinstance(loss, module.Poly1Loss)


@pytest.mark.slow
def test_the_checks_it_promises_find_the_new_method(files: dict[str, str], tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignored)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=ignored)
    for name in ("tests/test_contracts.py", "tests/conftest.py", "tests/recipes", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    init = tmp_path / "src/tailgrad/losses/__init__.py"
    text = init.read_text().replace("\n\n__all__", "\nfrom tailgrad.losses.poly1 import Poly1Loss\n\n__all__")
    init.write_text(text.replace('"FocalLoss", ', '"FocalLoss", "Poly1Loss", '))

    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "poly1" in run("-m", "tailgrad", "methods")
    tests = (
        "tests/test_contracts.py",
        "tests/recipes/test_compose.py",
        "tests/losses",
        "src/tailgrad/losses",
    )
    said = run("-m", "pytest", "-v", "-p", "no:cacheprovider", *tests, "-k", "oly1")
    for name in (
        "test_one_hot_targets",
        "test_every_method_composes",
        "test_epsilon_zero",
        "poly1.Poly1Loss",
    ):
        assert name in said
    run("docs/generate.py")
    assert "`poly1`" in (tmp_path / "docs" / "catalogue.md").read_text()
