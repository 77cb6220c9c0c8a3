"""The hash of own code changes with what runs, and with nothing else."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tailgrad.recipes.own_code import code_sha256, own_codes, plain

LOSS = '''
"""A file of losses."""
import torch
from torch.nn import functional as F
{imports}
STRENGTH = {strength}
NAMES = {{"a", "b", "c", "d"}}

def helper(z):
    {comment}
    return {helped}

def elsewhere():
    return {elsewhere}

class Base(torch.nn.Module):
    def scaled(self, value):
        return value * {factor}

class Mine(Base):
    """{docstring}"""
    def __init__(self, counts, power={power}):
        super().__init__()
        self.power = power

    def forward(self, z, y):
        assert "a" in NAMES
        return self.scaled(F.cross_entropy(helper(z), y)) * STRENGTH{more}
'''
USUAL = {
    "imports": "",
    "strength": "2.0",
    "comment": "# a remark",
    "helped": "z + 1",
    "elsewhere": "1",
    "factor": "3",
    "docstring": "What it is.",
    "power": "2",
    "more": "",
}


def load(folder: Path, name: str = "mine", **changed: str) -> Any:
    """The module of one edition of the file, as a program of its own would import it."""
    path = folder / f"{name}.py"
    path.write_text(LOSS.format(**{**USUAL, **changed}), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def edition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda **changed: load(tmp_path, **changed)
    for name in ("mine", "beside"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"strength": "2.5"},
        {"helped": "z - 1"},
        {"factor": "4"},
        {"power": "3"},
        {"more": " + 0"},
    ],
)
def test_what_runs_changes_the_hash(edition: Any, changed: dict[str, str]) -> None:
    before = code_sha256(edition().Mine)
    assert code_sha256(edition(**changed).Mine) != before


@pytest.mark.parametrize(
    "changed", [{"comment": "# another\n"}, {"elsewhere": "2"}, {"docstring": "Other words."}]
)
def test_what_does_not_run_does_not(edition: Any, changed: dict[str, str]) -> None:
    before = code_sha256(edition().Mine)
    assert code_sha256(edition(**changed).Mine) == before


def test_a_module_beside_counts_where_it_is_used(edition: Any, tmp_path: Path) -> None:
    used = {"imports": "import beside", "helped": "beside.half(z)"}
    (tmp_path / "beside.py").write_text("def half(z):\n    return z / 2\n", encoding="utf-8")
    before = code_sha256(edition(**used).Mine)
    (tmp_path / "beside.py").write_text("def half(z):\n    return z / 3\n", encoding="utf-8")
    assert code_sha256(edition(**used).Mine) != before


def test_it_is_the_same_in_every_process(edition: Any, tmp_path: Path) -> None:
    expected = code_sha256(edition().Mine)
    program = "from mine import Mine; from tailgrad.recipes.own_code import code_sha256 as h; print(h(Mine))"
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "7", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == expected


def test_a_script_is_the_module_of_the_same_text(edition: Any, tmp_path: Path) -> None:
    expected = code_sha256(edition().Mine)
    script = tmp_path / "script.py"
    last = "from tailgrad.recipes.own_code import code_sha256 as h; print(h(Mine))"
    script.write_text(f"{LOSS.format(**USUAL)}\n{last}\n", encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_code_without_a_file_is_told_apart_too() -> None:
    def typed(text: str) -> Any:
        space: dict[str, Any] = {"__name__": "typed"}
        exec(text, space)  # as at a prompt
        return space["Mine"]

    text = "class Mine:\n    scale = 2\n    def forward(self, z, y):\n        return z.sum() * self.scale"
    assert code_sha256(typed(text)) == code_sha256(typed(text))
    assert code_sha256(typed(text)) != code_sha256(typed(text.replace("= 2", "= 3")))
    assert code_sha256(typed(text)) != code_sha256(typed(text.replace("sum", "mean")))


def test_codes_are_those_of_the_loss_and_what_it_calls(edition: Any) -> None:
    module = edition()
    functions = {module.Mine.forward, module.Mine.__init__, module.Base.scaled, module.helper}
    assert own_codes(module.Mine) == {function.__code__ for function in functions}


def test_settings_are_made_of_plain_things() -> None:
    import numpy as np

    assert plain({"a": np.float64(0.5), "b": (1, None)}) == {"a": 0.5, "b": [1, None]}
    with pytest.raises(TypeError, match="a function"):
        plain({"a": plain})
