"""A recipe for a data set that is new: audit it, choose, and say why beside every value."""

import shlex
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tailgrad.checks import InputError
from tailgrad.data import Source
from tailgrad.data import audit as run_audit
from tailgrad.data.audit import Audit
from tailgrad.data.audit_text import kinds, noun
from tailgrad.data.recommendation import to_compare
from tailgrad.files import write_text
from tailgrad.recipes.chosen_settings import Setting, settings_for
from tailgrad.recipes.compose import compose
from tailgrad.recipes.configure import configure
from tailgrad.recipes.prepare import open_config

NEAR = 20_000
"""Images up to which near duplicates are looked for unasked: the time grows with the square."""

_LISTED, _NAME, _WIDTH = 30, 60, 100

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NewRecipe:
    """A recipe that was written.

    Args:
        path: the file.
        text: its content.
        settings: every key that it sets, with its value and why.
        command: how to train with it.
        audit: what was found in the data.

    Example: see ``new_recipe``.
    """

    path: Path
    text: str
    settings: tuple[Setting, ...]
    command: str
    audit: Audit


def new_recipe(
    source: str | Path,
    out: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    near: bool | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> NewRecipe:
    """Audit a source of images and write a commented recipe for it, which ``train`` takes as it stands.

    Args:
        source: as for ``train``.
        out: the file; by default the name of the source with ``.yaml``, in the working folder.
        overrides: nested keys that are written as given, such as ``{"data": {"root": "photos"}}``.
        near: look for near duplicates; None does so up to 20,000 images.
        force: write over a file that exists.
        progress: called with (images decoded, images).

    Raises:
        InputError: the source cannot be opened, the file exists, or a key or value is wrong.

    Example:
        >>> import tempfile
        >>> made = new_recipe("digits-lt", tempfile.mkdtemp() + "/digits.yaml", near=False)
        >>> made.text.splitlines()[0]
        '# Made by tailgrad new for digits-lt: 1797 images, 10 classes, imbalance factor 1.1.'
    """
    above = dict(overrides or {})
    opened = open_config(compose(str(source), "quick", "baseline", above))
    path = Path(out) if out is not None else Path(f"{opened.name}.yaml")
    _check_new(path, force)
    looked = near if near is not None else len(opened.items) <= NEAR
    audit = run_audit(opened, near=looked, command_source=_named(source), progress=progress)
    settings = settings_for(audit, opened, above)
    text = _text(audit, opened, settings, path)
    _try(text, path, source, opened)
    write_text(path, text)
    return NewRecipe(path, text, settings, _command(audit, path), audit)


def _try(text: str, path: Path, source: str | Path, opened: Source) -> None:
    """Refuse what train would, before a file that is there is written over."""
    with TemporaryDirectory() as aside:
        trial = write_text(Path(aside) / path.name, text)
        try:
            configure(str(source), str(trial), opened=opened)
        except InputError as error:
            raise InputError(f"the recipe for {source} must be one that train takes, got: {error}") from error


def _named(source: str | Path) -> str:
    return shlex.quote(str(source))


def _check_new(path: Path, force: bool) -> None:
    if path.suffix not in {".yaml", ".yml"}:
        raise InputError(f"out must end in .yaml, got {path}; name it {path.with_suffix('.yaml').name}")
    if path.exists() and not force:
        raise InputError(f"out must be a new file, got {path}, which exists; choose another, or add --force")


def _command(audit: Audit, path: Path) -> str:
    return f"tailgrad train {audit.command_source} --recipe {shlex.quote(str(path))}"


def _comparison(audit: Audit, path: Path) -> str:
    return f"tailgrad compare {audit.command_source} --regime {shlex.quote(str(path))} {to_compare(audit)}"


def _text(audit: Audit, opened: Source, settings: tuple[Setting, ...], path: Path) -> str:
    return "\n".join([*_head(audit, opened, path), *_body(settings)]) + "\n"


def _head(audit: Audit, opened: Source, path: Path) -> list[str]:
    lines = [
        f"Made by tailgrad new for {opened.name}: {audit.images} {noun(audit)}s, "
        f"{len(audit.classes)} {kinds(audit)}, imbalance factor {audit.imbalance_factor:.1f}.",
        "Every value may be changed. A line that is left out takes what the regime or the method says.",
        "",
        f"  {_command(audit, path)}",
        "",
        "To compare methods under it, everything but its method and seed staying as it is:",
        "",
        f"  {_comparison(audit, path)}",
        "",
        f"{noun(audit).capitalize()}s of each {'class' if audit.labels is None else 'label'}:",
    ]
    ordered = sorted(audit.classes.items(), key=lambda pair: -pair[1])
    lines += [f"  {n:7d}  {name[:_NAME]}" for name, n in ordered[:_LISTED]]
    if len(ordered) > _LISTED:
        lines.append(f"  and {len(ordered) - _LISTED} more {kinds(audit)}, down to {ordered[-1][1]}")
    if opened.profile is not None:
        lines += ["", f"The training {noun(audit)}s are thinned to a long tail: {opened.profile.kind}."]
    lines += ["", "What the audit says:", *(f"  - {advice}" for advice in audit.recommendation[:-1])]
    return [line for text in lines for line in _comment(text)]


def _body(settings: tuple[Setting, ...]) -> list[str]:
    lines, section = [], ""
    for setting in settings:
        above, _, key = setting.key.rpartition(".")
        indent = "  " if above else ""
        if above != section or not above:
            lines += ["", *([f"{above}:"] if above else [])]
            section = above
        lines += [f"{indent}{line}" for line in _comment(setting.why)]
        lines.append(f"{indent}{key}: {_yaml(setting.value)}")
    return lines


def _comment(text: str) -> list[str]:
    """Text as lines of a comment; a line with a command to copy stays whole."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    if len(clean) <= _WIDTH or clean.lstrip().startswith("tailgrad "):
        return [f"# {clean}".rstrip()]
    indent = len(clean) - len(clean.lstrip(" "))
    later = " " * (indent + (2 if clean.lstrip().startswith("- ") else 0))
    return [f"# {line}" for line in textwrap.wrap(clean, _WIDTH, subsequent_indent=later)]


def _yaml(value: Any) -> str:
    """A value on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.strip().removesuffix("...").strip()
