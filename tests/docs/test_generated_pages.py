"""The reference pages are what the code generates now, and complete."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import tailgrad
from tailgrad.cli.app import COMMANDS, app
from tailgrad.recipes import Config, catalogue

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def test_committed_pages_are_what_the_code_generates(generate: ModuleType) -> None:
    for name, content in generate.pages().items():
        assert (DOCS / name).read_text(encoding="utf-8") == content, (
            f"docs/{name} is out of date: run `python docs/generate.py`"
        )
    of_studies = {f"evidence/{path.name}" for path in (DOCS / "evidence").iterdir()}
    assert of_studies <= set(generate.pages()), (
        "pages of studies that are gone: run `python docs/generate.py`"
    )


def test_everything_that_can_be_named_is_in_the_catalogue() -> None:
    page = (DOCS / "catalogue.md").read_text(encoding="utf-8")
    for entry in catalogue():
        assert f"| `{entry.name}` |" in page, entry


def test_every_key_is_in_the_configuration_page() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for key, value in Config(source="x").model_dump().items():
        for name in [f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key]:
            assert f"| `{name}` |" in page, name


def test_every_command_and_option_is_on_the_command_line_page(commands: dict[str, Any]) -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert set(commands) == {command.__name__.replace("_", "-") for command in COMMANDS}
    for name, command in commands.items():
        section = page.split(f"## tailgrad {name}\n")[1].split("\n## ")[0]
        for param in command.params:
            for option in (*param.opts, *param.secondary_opts):
                wanted = option if option.startswith("-") else param.metavar.replace("|", "\\|")
                assert f"{wanted}" in section, f"{name} {option}"


def test_the_examples_in_the_help_can_be_parsed(generate: ModuleType, commands: dict[str, Any]) -> None:
    for name, command in commands.items():
        examples = generate.command_examples(command.help)
        assert examples, f"tailgrad {name} --help has no example"
        for example in examples:
            program, called, *words = shlex.split(example)
            assert (program, called) == ("tailgrad", name)
            commands[called].make_context(called, words)


def test_every_public_name_is_on_the_python_page(generate: ModuleType) -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    shown = {line.rsplit(".", 1)[1] for line in re.findall(r"(?m)^::: (.+)$", page)}
    assert set(tailgrad.__all__) <= shown
    folders = {path.parent.name for path in Path(tailgrad.__file__).parent.glob("*/__init__.py")}
    assert folders - {"cli"} <= set(generate.PACKAGES), "a folder is missing in docs/generate.py"
    for package in generate.PACKAGES:
        module = importlib.import_module(f"tailgrad.{package}")
        assert set(generate.public_names(module)) <= shown, package
