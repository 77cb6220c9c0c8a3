"""What a command loads before it answers, counted and not timed: a test machine may be slow."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

HEAVY = (
    "torchvision",
    "lightning",
    "timm",
    "sklearn",
    "transformers",
    "torchmetrics",
    "plotly",
    "scipy.stats",
)
NUMERIC = ("torch", "numpy", "scipy", "pandas", "pyarrow", "PIL")


def loaded(*words: str, folder: Path) -> set[str]:
    """Modules loaded by the time a command has answered."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('LOADED', *sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['tailgrad', *{words!r}]\n"
        "from tailgrad.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=folder
    )
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("LOADED ")
    return set(last.split()[1:])


@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), ("compare", "--seeds", "many", "x")])
def test_help_and_usage_errors_load_neither_numbers_nor_files(words: tuple[str, ...], tmp_path: Path) -> None:
    assert not loaded(*words, folder=tmp_path) & {*HEAVY, *NUMERIC, "yaml", "tailgrad.recipes"}


def test_a_table_loads_no_numbers(tmp_path: Path) -> None:
    assert not loaded("table", "missing", folder=tmp_path) & {*HEAVY, *NUMERIC}


@pytest.mark.parametrize(
    "words",
    [
        ("methods",),
        ("report", "missing"),
        ("audit", "missing"),
        ("train", "digits-lt", "--method", "bseline"),
        ("compare", "digits-lt", "--methods", "bseline"),
        ("predict", "missing", "a.png"),
    ],
)
def test_names_are_looked_up_and_refused_before_networks_load(words: tuple[str, ...], tmp_path: Path) -> None:
    assert not loaded(*words, folder=tmp_path) & set(HEAVY)


def test_names_of_recipes_stay_functions_whatever_was_imported_before() -> None:
    code = (
        "import tailgrad.recipes.compare, tailgrad.recipes.table, tailgrad.recipes.train\n"
        "import tailgrad, tailgrad.recipes as recipes\n"
        "for name in recipes.__all__:\n"
        "    item = getattr(recipes, name)\n"
        "    assert callable(item), name\n"
        "    assert item.__module__.startswith('tailgrad.recipes'), name\n"
        "for name in tailgrad.__all__:\n"
        "    assert callable(getattr(tailgrad, name)), name\n"
        "assert set(recipes.__all__) <= set(dir(recipes))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
