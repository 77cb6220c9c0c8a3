"""The folder of a study: when it may be worked in, and what was compared in it before."""

import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tailgrad.checks import InputError
from tailgrad.files import clear_partial, write_text
from tailgrad.recipes.chosen_methods import Chosen
from tailgrad.recipes.config import Config
from tailgrad.recipes.folder_lock import holds_files
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.untrusted import parse_yaml, yaml_text

AT_THE_END = ("differences", "own_test", "environment")
"""Keys of ``study.yaml`` that come with the comparison: while it grows they stay, as the comparison does."""


def start_study(folder: Path, plans: Sequence[Config], chosen: Chosen, *, resume: bool) -> list[str]:
    """Claim the folder of a study and write its ``study.yaml``.

    Args:
        folder: of the study.
        plans: all its runs.
        chosen: what is compared.
        resume: go on with what the folder holds.

    Returns:
        Methods that ran there before and are not compared any more: they still count as tests.

    Raises:
        InputError: it exists and ``resume`` is off, or it holds another study.

    Example: see ``recipes.compare``.
    """
    if folder.exists() and (not folder.is_dir() or (holds_files(folder) and not resume)):
        raise InputError(
            f"study folder must be new, got {folder}, which exists; choose another with --out, "
            "or add --resume"
        )
    clear_partial(folder, below=False)
    content = _content(plans, chosen)
    before = _before(folder / "study.yaml", content)
    dropped = _dropped(folder, before, content["methods"])
    content |= {"dropped": dropped} if dropped else {}
    content |= {key: before[key] for key in AT_THE_END if key in before}
    write_text(folder / "study.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return dropped


def left_out(folder: Path, planned: Iterable[Path], methods: Iterable[str]) -> list[str]:
    """Names of the finished runs of a study's methods that are not planned any more: other seeds or splits.

    Args:
        folder: of the study.
        planned: folders of the runs that are compared.
        methods: what is compared.

    Example:
        >>> left_out(Path("missing"), [], ["csba"])
        []
    """
    wanted = {path.name for path in planned}
    ran = (run for name in methods for run in _runs(folder, name) if run.name not in wanted)
    return sorted(run.name for run in ran if _finished(run))


def _content(plans: Sequence[Config], chosen: Chosen) -> dict[str, Any]:
    first = plans[0]
    splits = list(dict.fromkeys(config.split_seed for config in plans))
    return {
        "source": first.source,
        "regime": first.regime,
        "methods": list(chosen.overlays),
        "seeds": len({config.seed for config in plans}),
        **({} if first.split_seed is None else {"split_seeds": splits}),
        "focus": first.focus,
        **({"unsuited": dict(chosen.reasons)} if chosen.reasons else {}),
    }


def _before(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the study was when it was last worked on; empty where it is new."""
    if not path.exists():
        return {}
    try:
        before = parse_yaml(yaml_text(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be a readable study, got {error}; restore it") from error
    if not isinstance(before, dict):
        return {}
    for key in ("source", "regime", "focus"):
        if before.get(key) != content[key]:
            raise InputError(
                f"{key} must stay as the study in {path.parent} was started, with {before.get(key)!r}, got "
                f"{content[key]!r}; use another --out"
            )
    return before


def _dropped(folder: Path, before: Mapping[str, Any], methods: Sequence[str]) -> list[str]:
    """Methods with a finished run that are not named any more; once dropped, always so."""
    gone, listed = _names(before.get("dropped")), _names(before.get("methods"))
    ran = [name for name in listed if any(map(_finished, _runs(folder, name)))]
    return [name for name in dict.fromkeys([*gone, *ran]) if name not in methods]


def _names(listed: Any) -> list[str]:
    return [str(name) for name in listed] if isinstance(listed, list) else []


def _runs(folder: Path, method: str) -> list[Path]:
    return list((folder / "runs").glob(f"*.{glob.escape(method)}.split*.seed*"))


def _finished(run: Path) -> bool:
    return RunFolder(run).complete
