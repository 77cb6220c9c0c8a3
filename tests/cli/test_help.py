"""What ``--help`` teaches, derived from the application: a new command is tested without a word here."""

import inspect
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer

import tailgrad
from tailgrad.cli.app import COMMANDS, app
from tailgrad.cli.help import EXIT_CODES

GROUP: Any = typer.main.get_command(app)
NAMES = list(GROUP.commands)


def examples(command: Any) -> list[str]:
    _, _, below = inspect.cleandoc(command.help).partition("Examples:\n")
    return [line.strip() for line in below.splitlines()]


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_every_command_function_is_registered_under_its_name() -> None:
    assert [function.__name__.replace("_", "-") for function in COMMANDS] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_help_lists_every_option_with_a_sentence(cli: Any, name: str) -> None:
    shown = cli(name, "--help")
    assert (shown.status, shown.err) == (0, "")
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", shown.out).split())
    for param in GROUP.commands[name].params:
        for option in param.opts:
            assert option in words or param.metavar in words
        assert re.fullmatch(r"[A-Z][^\[\]]+\.", param.help), f"{param.name}: {param.help!r}"
        first = param.help.split()[:2]
        assert " ".join(first) in words


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_eighty_columns_and_shows_its_examples_whole(cli: Any, name: str) -> None:
    shown = cli(name, "-h").out
    assert max(map(len, shown.splitlines())) <= 80
    for example in examples(GROUP.commands[name]):
        assert example in shown
    assert f"Usage: tailgrad {name} " in shown


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_parse(name: str) -> None:
    command = GROUP.commands[name]
    assert examples(command), "a command without an example does not teach"
    for example in examples(command):
        program, called, *words = shlex.split(example)
        assert (program, called) == ("tailgrad", name)
        context = command.make_context(name, words)
        assert set(context.params) >= {param.name for param in command.params if param.name != "help"}


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_json_and_says_what_it_is_for_in_three_lines(cli: Any, name: str) -> None:
    command = GROUP.commands[name]
    assert "--json" in [option for param in command.params for option in param.opts]
    first, *more = inspect.cleandoc(command.help).split("\n\n")
    assert first.endswith(".")
    assert len(more) >= 2, "a summary, a paragraph that teaches, and examples"


def test_no_arguments_and_help_list_the_commands(cli: Any) -> None:
    for words, status in (((), 2), (("--help",), 0), (("-h",), 0)):
        shown = cli(*words)
        assert shown.status == status
        text = shown.out + shown.err
        assert all(re.search(rf"\b{name} ", text) for name in NAMES)
        assert "tailgrad audit SOURCE" in " ".join(text.split())


def test_the_exit_status_is_explained(cli: Any) -> None:
    shown = cli("--help").out
    for code, words in EXIT_CODES.items():
        assert re.search(rf"(?m)^ +{code} +{re.escape(words)}", shown)


@pytest.mark.parametrize("width", [60, 120])
@pytest.mark.parametrize("name", NAMES)
def test_help_fits_other_terminals(cli: Any, name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = cli(name, "--help").out
    assert max(map(len, shown.splitlines())) <= width
    joined = re.sub(r" \\\s+", " ", shown)  # as a shell joins lines that end in a backslash
    assert all(example in joined for example in examples(GROUP.commands[name]))
    assert "<bool>" not in shown


@pytest.mark.parametrize("name", sorted({"audit", "new", "train", "compare", "diagnose", "predict", "study"}))
def test_what_shows_progress_can_be_quiet(name: str) -> None:
    assert "--quiet" in [option for param in GROUP.commands[name].params for option in param.opts]


def test_version(cli: Any) -> None:
    assert cli("--version").out.strip() == tailgrad.__version__


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train",), "SOURCE"),
        (("trane", "photos"), "train"),
        (("train", "photos", "--recip", "quick"), "--recipe"),
        (("compare", "photos", "--seeds", "many"), "--seeds"),
        (("train", "photos", "--max-minutes", "soon"), "--max-minutes"),
        (("predict", "runs/one"), "IMAGES"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(cli: Any, words: tuple[str, ...], said: str) -> None:
    refused = cli(*words)
    assert (refused.status, refused.out) == (2, "")
    assert said in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.parametrize(
    "program",
    [
        "import tailgrad.cli.app",
        "import runpy; sys.argv = ['tailgrad', '--help']; runpy.run_module('tailgrad', run_name='__main__')",
        "import tailgrad",
    ],
)
def test_help_loads_nothing_heavy(program: str) -> None:
    heavy = "{'torch', 'numpy', 'pandas', 'lightning', 'timm', 'sklearn', 'plotly', 'pyarrow', 'pydantic'}"
    code = f"import sys, atexit; atexit.register(lambda: print({heavy} & set(sys.modules), file=sys.stderr))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{program}"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_as_markup(name: str) -> None:
    assert not re.search(r"\[[a-z]+\]", GROUP.commands[name].help or ""), (
        "square brackets are markup in a help"
    )
