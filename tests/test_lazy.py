"""Packages whose names are imported on use, tried on one that is made for it."""

import importlib
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

LIGHT = """
from tailgrad.lazy import lazy_package

__all__ = ["Thing", "work"]
own = 3
__getattr__ = lazy_package(__name__, {"Thing": "things", "work": "work"})
"""
THINGS = "class Thing:\n    pass\n\nloaded = True\n"
WORK = "from lazily.things import Thing\n\n\ndef work():\n    return Thing()\n"


@pytest.fixture
def lazily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = tmp_path / "lazily"
    folder.mkdir()
    for name, text in (("__init__", LIGHT), ("things", THINGS), ("work", WORK)):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazily"]:
        monkeypatch.delitem(sys.modules, name)
    return importlib.import_module("lazily")


def test_a_file_is_imported_when_its_name_is_asked_for(lazily: ModuleType) -> None:
    assert "lazily.things" not in sys.modules
    assert lazily.own == 3
    assert "lazily.things" not in sys.modules
    assert lazily.Thing.__module__ == "lazily.things"
    assert "lazily.work" not in sys.modules


def test_a_function_stays_one_when_its_file_of_the_same_name_is_imported(lazily: ModuleType) -> None:
    importlib.import_module("lazily.work")
    assert type(lazily.work()).__name__ == "Thing"
    assert isinstance(sys.modules["lazily.work"], ModuleType)


def test_other_files_are_attributes_as_ever(lazily: ModuleType) -> None:
    importlib.import_module("lazily.things")
    assert lazily.things.loaded


def test_names_that_are_not_there_are_said(lazily: ModuleType) -> None:
    with pytest.raises(AttributeError, match=r"module 'lazily' has no attribute 'thing'"):
        _ = lazily.thing
    with pytest.raises(ImportError, match="cannot import name 'thing'"):
        exec("from lazily import thing")


def test_it_is_imported_from_listed_and_pickled_as_any_package(lazily: ModuleType) -> None:
    names: dict[str, object] = {}
    exec("from lazily import *", names)
    assert names["Thing"] is lazily.Thing
    assert {"Thing", "work", "own"} <= set(dir(lazily))
    assert pickle.loads(pickle.dumps(lazily.Thing)) is lazily.Thing


def test_a_name_can_be_put_in_its_place(lazily: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazily, "work", lambda: "patched")
    assert lazily.work() == "patched"


@pytest.mark.long  # a process each
@pytest.mark.parametrize("package", ["data", "ship", "recipes", "evidence"])
def test_every_name_of_our_own_resolves_and_none_is_loaded_before(package: str) -> None:
    code = (
        f"import sys, tailgrad.{package} as package\n"
        "assert 'torch' not in sys.modules\n"
        "for name in package.__all__:\n"
        "    assert not isinstance(getattr(package, name), type(sys)), name\n"
        "assert set(package.__all__) == set(package._home)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
