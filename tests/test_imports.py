"""Imports between folders go down only (docs/decisions.md, layout)."""

import ast
from pathlib import Path

import tailgrad

ROOT = Path(tailgrad.__file__).parent
BOTTOM = {
    "types",
    "checks",
    "distributed",
    "files",
    "frozen",
    "lazy",
    "correction_ledger",
    "precision",
    "settings",
    "untrusted",
}
LEAVES = {"data", "samplers", "augment", "heads", "losses", "interference", "posthoc", "evaluate"}
COMPONENTS = LEAVES | {"models"}
ALLOWED = {
    "__main__": {"cli"},
    "types": {"checks"},
    "checks": set(),
    "distributed": {"checks", "files"},
    "frozen": set(),
    "lazy": set(),
    "files": {"checks"},
    "correction_ledger": {"types", "checks"},
    "precision": set(),
    "settings": set(),
    "untrusted": {"checks"},
    **dict.fromkeys(LEAVES, BOTTOM),
    "models": BOTTOM | {"heads"},
    "optim": BOTTOM | COMPONENTS,
    "report": BOTTOM | COMPONENTS,
    "engine": BOTTOM | COMPONENTS | {"optim", "report"},
    "recipes": BOTTOM | COMPONENTS | {"optim", "report", "engine"},
    "evidence": BOTTOM | COMPONENTS | {"optim", "report", "engine", "recipes", "ship", "integrations"},
    "ship": BOTTOM | COMPONENTS | {"optim", "report", "engine", "recipes"},
    "cli": BOTTOM | COMPONENTS | {"optim", "report", "engine", "recipes", "evidence", "integrations", "ship"},
    "integrations": BOTTOM | COMPONENTS | {"optim", "report", "engine", "recipes"},
}


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("tailgrad.")}


def test_imports_go_down_only() -> None:
    files = [p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py"]
    assert len(files) > 10
    for path in files:
        unit = path.relative_to(ROOT).parts[0].removesuffix(".py")
        upward = _imported(path) - ALLOWED[unit] - {unit}
        assert not upward, f"{path.relative_to(ROOT)} imports upward: {sorted(upward)}"


def test_every_folder_states_its_protocol() -> None:
    for init in ROOT.glob("*/__init__.py"):
        assert ast.get_docstring(ast.parse(init.read_text())), f"{init.parent.name} has no docstring"


def test_there_is_no_utils() -> None:
    assert not list(ROOT.rglob("util*"))
