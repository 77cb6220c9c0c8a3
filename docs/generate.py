"""Write the reference pages from the code: python docs/generate.py.

``catalogue.md``, ``configuration.md``, ``cli.md``, ``api.md``, ``evidence.md``, a page of every study in
``evidence/`` and ``results/README.md`` are committed as this writes them; a test compares them. Building the
site runs nothing of this.
"""

import ast
import html
import inspect
import json
import re
import runpy
import textwrap
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
import yaml

from tailgrad.cli.app import app
from tailgrad.cli.help import EXIT_CODES
from tailgrad.recipes import Config, Entry, catalogue, overlay
from tailgrad.recipes.combinations import combination_options
from tailgrad.recipes.components import components
from tailgrad.recipes.compose import ABOUT
from tailgrad.recipes.config import METHOD_KEYS, Section, StageConfig

RESULTS = Path(__file__).parents[1] / "results"
STUDIES = "evidence"
MADE = "<!-- made by docs/generate.py; change the code, not this page -->"
KINDS = {
    "method": ("Methods", "What differs between the runs of a comparison: `--methods`, `--method`."),
    "regime": ("Regimes", "What all runs of a comparison have in common: `--regime`."),
    "recipe": ("Recipes", "One regime and one method under one name, for `train`: `--recipe`."),
    "backbone": ("Backbones", "Images to features: `model.name`, and `--model` of `diagnose`."),
    "head": ("Heads", "Features to logits: `head.name`, with `head.options`, set by methods."),
    "loss": ("Losses", "Logits and targets to one number: `loss.name`, with `loss.options`, set by methods."),
    "architecture": (
        "Architectures",
        "Networks that own several copies of a backbone's last stages: `architecture.name`, set by methods.",
    ),
    "sampler": (
        "Samplers",
        "Which example comes next: `sampler.name`, and `partner.name` for a second batch.",
    ),
    "mixing": ("Mixing", "How images and labels of a batch are mixed: `mixing.name`, set by methods."),
    "sharpness": (
        "Sharpness-aware optimisers",
        "What stands around the regime's optimiser: `sharpness.name`, with `sharpness.rho` and options.",
    ),
    "posthoc": (
        "Posthoc",
        "What changes logits after training, fitted on validation data: a list `posthoc`.",
    ),
    "combination": (
        "Combinations",
        "What becomes of the gradients of single classes: `combine.name`, with `combine.options`, set by "
        "methods.",
    ),
    "augmentation": ("Augmentations", "Changes of training batches: `train.augment`, a list in order."),
}
FILLED_IN = {
    "head": ("channels", "num_classes", "grid"),
    "loss": ("class_counts", "reduction", "vectors"),
    "sampler": ("target", "epochs", "batch_size", "seed", "num_replicas", "rank"),
    "mixing": ("class_counts", "epochs"),
    "posthoc": ("class_counts",),
}
PART = {"head": "heads", "loss": "losses", "sampler": "samplers", "mixing": "mixers", "posthoc": "posthoc"}
MORE = {
    **dict.fromkeys(("regime", "recipe"), ("source", "how sure")),
    "method": ("acts on", "equation", "source", "reading", "how sure", "published", "measured here"),
    **dict.fromkeys(FILLED_IN, ("options and defaults", "source")),
    "combination": ("options and defaults",),
}
PACKAGES = {
    "types": "The values that travel between folders.",
    "data": "Sources, splits, duplicates, audits.",
    "augment": "Changes of training batches.",
    "models": "Backbones, and backbones joined with heads.",
    "heads": "Features to logits.",
    "losses": "Logits and targets to one number.",
    "interference": "Class gradients, compared.",
    "samplers": "Which example comes next.",
    "optim": "Gradients to an update.",
    "posthoc": "Logits to better logits, fitted on held-out data.",
    "correction_ledger": "What a method makes of the class prior.",
    "integrations": "Callbacks, a Trainer, a module and an estimator for the frameworks of others.",
    "evaluate": "Figures, intervals, tests.",
    "engine": "The training loop and its parts.",
    "report": "From a folder to an HTML file.",
    "recipes": "What composes and runs configurations.",
    "evidence": "Published claims beside what is measured.",
    "ship": "A trained network on its way to where it is used.",
}
EXAMPLES = re.compile(r"(?m)^Examples?:")
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def pages() -> dict[str, str]:
    """File name and content of every generated page."""
    made = {
        "catalogue.md": _catalogue,
        "configuration.md": _configuration,
        "cli.md": _cli,
        "api.md": _api,
        "evidence.md": lambda: _evidence(whole=False).parts(),
        "../results/README.md": _results,
    }
    parts = {name: list(page()) for name, page in made.items()}
    parts |= {f"{STUDIES}/{name}": page for name, page in _evidence(whole=False).studies().items()}
    return {name: "\n\n".join((MADE, *page)) + "\n" for name, page in parts.items()}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[_cell(text) for text in row] for row in (header, *rows)]
    lines = [cells[0], ["---"] * len(header), *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    parts = re.split(r"(`[^`]+`)", re.sub(r"``(.+?)``", r"`\1`", text).replace("\n", " "))
    shown = [part if part.startswith("`") else html.escape(part, quote=False) for part in parts]
    return "".join(shown).replace("|", "\\|")


def _code(value: object) -> str:
    return f"`{value}`"


def _yaml(value: object) -> str:
    """A plain value as it is written after a key."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=1000).splitlines()[0])


def _first_line(item: object) -> str:
    return (inspect.getdoc(item) or "").split("\n", 1)[0].rstrip(".")


def _catalogue() -> Iterator[str]:
    yield "# Everything that can be named"
    yield (
        "`tailgrad methods` prints this list, and `tailgrad methods --json` gives it to a program.\n"
        "A path to a YAML file of your own works wherever a method, a regime or a recipe is named\n"
        "([how](methods-and-regimes.md))."
    )
    entries = catalogue()
    for kind in dict.fromkeys(entry.kind for entry in entries):
        title, meaning = KINDS[kind]
        yield f"## {title}"
        yield meaning
        yield from _entries(kind, [entry for entry in entries if entry.kind == kind])


def _entries(kind: str, found: Sequence[Entry]) -> Iterator[str]:
    rows = [[_code(entry.name), entry.description, *_more(entry)] for entry in found]
    header = ("name", "what it is", *MORE.get(kind, ()))
    used = [j for j in range(len(header)) if any(row[j] for row in rows)]
    yield _table([header[j] for j in used], [[row[j] for j in used] for row in rows])
    if kind in ("method", "regime", "recipe"):
        yield "What they set:"
        content = {entry.name: _without_about(overlay(f"{kind}s", entry.name)) for entry in found}
        shown = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
        yield f"```yaml\n{shown}```"


def _more(entry: Entry) -> list[str]:
    if entry.kind == "combination":
        return [_shown(combination_options(entry.name))]
    if entry.kind in FILLED_IN:
        return [_options(entry), entry.paper]
    if entry.kind == "method":
        about = (entry.acts_on, entry.equation, entry.paper, entry.reading, entry.status)
        return [*about, entry.published, entry.ours]
    return [entry.paper, entry.status] if entry.kind in MORE else []


def _without_about(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in ABOUT}


def _options(entry: Entry) -> str:
    made = components(PART[entry.kind])[entry.name]
    options = [p for p in inspect.signature(made).parameters.values() if p.name not in FILLED_IN[entry.kind]]
    return _shown({p.name: None if p.default is p.empty else p.default for p in options})


def _shown(options: dict[str, Any]) -> str:
    return ", ".join(_code(f"{name}={_yaml(value)}") for name, value in options.items()) or "none"


def measured_figures() -> str:
    """Macro-F1 of every method in the committed studies, for the catalogue."""
    found: dict[str, list[str]] = {}
    for path in sorted(RESULTS.glob("*/comparison.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        study = content["study"]
        for row in content["comparison"]["rows"]:
            if row["metric"] == "macro_f1":
                where = f"{study['source']}, {study['regime']}, {row['n']} seeds"
                figures = f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
                found.setdefault(row["method"], []).append(f"{figures} ({where})")
    about = "# made by docs/generate.py from results/: macro-F1 with 95 % intervals over seeds\n"
    return about + str(yaml.safe_dump(found, allow_unicode=True, width=1000))


def _configuration() -> Iterator[str]:
    yield "# Configuration keys"
    yield (
        "Everything that decides a run's result is one of these keys. They are set in YAML files, with\n"
        "`--set KEY=VALUE` (repeatable; the value is read as YAML), or in Python with\n"
        '`overrides={"optim": {"lr": 0.01}}`. What a run used in the end is in its `config.yaml`.\n'
        "An unknown key or a value outside its range is an error that names the nearest key."
    )
    yield (
        f"Methods set {', '.join(map(_code, METHOD_KEYS))} only; the rest is the regime's. The\n"
        "defaults below are what holds where neither regime nor method says anything."
    )
    defaults = Config(source="").model_dump(mode="json")
    sections = {key: type(getattr(Config(source=""), key)) for key in defaults}
    sections = {key: kind for key, kind in sections.items() if issubclass(kind, Section)}
    yield "## At the top"
    own = {key: value for key, value in defaults.items() if key not in sections}
    yield _keys(Config, "", own)
    for key, section in sections.items():
        yield f"## {key}"
        yield f"{_first_line(section)}.".replace("``", "`")
        yield _keys(section, f"{key}.", defaults[key])
    yield "## Each of stages"
    yield f"{_first_line(StageConfig)}."
    yield _keys(StageConfig, "", StageConfig(name="x").model_dump(mode="json") | {"name": ""})


def _keys(section: type[Section], prefix: str, defaults: dict[str, Any]) -> str:
    properties, notes = section.model_json_schema()["properties"], _notes(section)
    rows = [
        [
            _code(prefix + name),
            _code(_yaml(value)) if value != "" else "",
            _allowed(properties[name]),
            notes.get(name, ""),
        ]
        for name, value in defaults.items()
    ]
    return _table(("key", "default", "value", "note"), rows)


def _allowed(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return "mapping"
    if "allOf" in field:
        return _allowed(field["allOf"][0])
    if "anyOf" in field:
        return "; or ".join(map(_allowed, field["anyOf"]))
    if "enum" in field or "const" in field:
        return ", ".join(map(_code, field.get("enum", [field.get("const")])))
    if field["type"] == "array":
        pair = field.get("prefixItems")
        return f"pair of: {_allowed(pair[0])}" if pair else f"list of: {_allowed(field['items'])}"
    words = {"boolean": "true or false", "object": "mapping", "string": "text"}
    bounds = " and ".join(f"{word} {field[key]}" for key, word in BOUNDS.items() if key in field)
    return f"{words.get(field['type'], field['type'])} {bounds}".strip()


def _notes(section: type[Section]) -> dict[str, str]:
    """The strings that stand under the fields of a section."""
    parsed = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    body = parsed.body if isinstance(parsed, ast.ClassDef) else []
    return {
        ast.unparse(field.target): str(ast.literal_eval(note.value))
        for field, note in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr)
    }


def _cli() -> Iterator[str]:
    group: Any = typer.main.get_command(app)
    yield "# Command line"
    yield str(group.help)
    yield (
        "Results go to standard output, everything else to standard error, where `--quiet` leaves only\n"
        "errors. With `--json` the result is one JSON object. `NO_COLOR=1` takes colours away,\n"
        "`COLUMNS` sets the width, and off a terminal there are neither bars nor colours. A misspelt\n"
        "name is answered with the nearest one. The exit status says how it ended:"
    )
    yield _table(("exit status", "meaning"), [[f"`{code}`", words] for code, words in EXIT_CODES.items()])
    yield (
        "`tailgrad --install-completion` teaches the shell to complete commands, options, and the names of\n"
        "methods, regimes, recipes, studies, loggers and configuration keys."
    )
    rows = [[_code(", ".join(param.opts)), param.help] for param in group.params]
    yield _table(("before the command", ""), [*rows, ["`-h, --help`", "Explain; after a command, that one."]])
    for name, command in group.commands.items():
        yield from _command(name, command)


def _command(name: str, command: Any) -> Iterator[str]:
    about = EXAMPLES.split(str(command.help))[0].strip()
    options = [param for param in command.params if param.opts[0].startswith("-")]
    arguments = [param for param in command.params if param not in options]
    usage = ["tailgrad", name, *(param.metavar for param in arguments), "[OPTIONS]"]
    yield f"## tailgrad {name}"
    yield about
    yield f"```text\n{' '.join(usage)}\n```"
    if arguments:
        yield _table(("argument", ""), [[_code(param.metavar), param.help] for param in arguments])
    yield _table(("option", "default", ""), [_option(param) for param in options])
    yield "For example:"
    yield "```text\n" + "\n".join(command_examples(command.help)) + "\n```"


def command_examples(text: str) -> list[str]:
    """The commands under ``Example`` or ``Examples`` in a help text, one a line or parted by semicolons."""
    parts = re.split(r"[;\n]", EXAMPLES.split(text)[-1])
    return [part.strip() for part in parts if part.strip().startswith("tailgrad ")]


def _option(param: Any) -> list[str]:
    names = " / ".join([*param.opts, *param.secondary_opts])
    takes = "" if param.is_flag else f" {param.metavar or param.opts[0].strip('-').upper()}"
    shown = param.opts[0] if param.default is True else param.default
    return [_code(names + takes), _code(shown) if shown else "", param.help]


def _api() -> Iterator[str]:
    yield "# Python"
    yield (
        "Everything the command line does is a Python call that returns what the command prints. The names\n"
        "that most programs need are at the top of the package; importing it loads nothing until one is used."
    )
    top = import_module("tailgrad")
    rows = [
        [f"[`tailgrad.{name}`][{_home(top, name)}]", _first_line(getattr(top, name))] for name in top.__all__
    ]
    yield _table(("name", "what it does"), rows)
    for package, meaning in PACKAGES.items():
        module = import_module(f"tailgrad.{package}")
        yield f"## tailgrad.{package}"
        yield meaning
        yield from (f"::: {_home(module, name)}" for name in public_names(module))
    yield "## tailgrad.checks"
    yield "::: tailgrad.checks.InputError"


def public_names(module: Any) -> list[str]:
    """What a module exports; without ``__all__`` the classes that it defines."""
    own = [name for name, item in vars(module).items() if getattr(item, "__module__", "") == module.__name__]
    return list(getattr(module, "__all__", own))


def _evidence(*, whole: bool) -> Any:
    """The page of evidence as an object; ``whole`` puts every study and its picture on it."""
    made: Any = runpy.run_path(str(Path(__file__).with_name("generate_evidence.py")))
    return made["Page"](RESULTS, _table, whole)


def _results() -> Iterator[str]:
    """All evidence on one page with pictures, and what was timed."""
    yield from _evidence(whole=True).parts()
    yield "## Timings and tests of minutes"
    yield "Ratios against the alternative in one process, and counts; quoted by file and key."
    files = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(RESULTS.glob("*.json"))]
    rows = [[f"[{path.name}]({path.name})", _code(_first_command(content))] for path, content in files]
    yield _table(("file", "written by"), rows)


def _first_command(content: Any) -> str:
    """The command of a benchmark's file, or of its first part."""
    parts = [content, *(part for part in content.values() if isinstance(part, dict))]
    parts += [part["provenance"] for part in parts if "provenance" in part]
    words = next(str(part["command"]) for part in parts if "command" in part).split()
    return " ".join(words[:2])


def _home(module: Any, name: str) -> str:
    """Where an exported name is defined; the exporting package for constants."""
    home = getattr(getattr(module, name), "__module__", "")
    return f"{home}.{name}" if home.startswith("tailgrad.") else f"{module.__name__}.{name}"


MEASURED = Path(__file__).parents[1] / "src/tailgrad/recipes/measured/figures.yaml"

if __name__ == "__main__":
    MEASURED.parent.mkdir(exist_ok=True)
    MEASURED.write_text(measured_figures(), encoding="utf-8")
    docs, made = Path(__file__).parent, pages()
    (docs / STUDIES).mkdir(exist_ok=True)
    for left_over in {path.relative_to(docs).as_posix() for path in (docs / STUDIES).iterdir()} - set(made):
        (docs / left_over).unlink()
    for name, content in made.items():
        (docs / name).write_text(content, encoding="utf-8")
