"""Versions of what tailgrad stands on, against the ranges that it was made for."""

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tailgrad import __version__

Found = tuple[str, str, str]
"""Level, what is so, and what to do."""

USES = {
    "tensorboard": "train --logger tensorboard",
    "mlflow": "train --logger mlflow",
    "wandb": "train --logger wandb",
    "huggingface": "ImbalanceTrainer, and the callback for the Hugging Face Trainer",
    "torchjd": "gradient aggregators of TorchJD",
    "imblearn": "resampling of tables by imbalanced-learn",
    "tables": "further networks for tables, and what imblearn brings",
    "onnx": "export --onnx, and predict with what it writes",
    "conformal": "conformal sets in reports and tailgrad reliability",
    "cluster": "compare --engine ray",
}
"""What an extra is for; those for developing tailgrad itself are left out."""


def packages() -> tuple[dict[str, Any], dict[str, Any]]:
    """What is installed: of the packages that are needed, and of each extra.

    Example:
        >>> packages()[0]["torch"]["fits"]
        True
    """
    needed: dict[str, Any] = {"tailgrad": {"version": __version__, "wanted": "", "fits": True}}
    python = metadata("tailgrad")["Requires-Python"] or ""
    needed["python"] = _fact(platform.python_version(), SpecifierSet(python))
    extras: dict[str, Any] = {}
    for requirement in map(Requirement, requires("tailgrad") or []):
        extra = _extra_of(requirement)
        if not extra:
            needed[requirement.name] = _looked_up(requirement)
        elif extra in USES:
            extras.setdefault(extra, {"for": USES[extra], "packages": {}})
            extras[extra]["packages"][requirement.name] = _looked_up(requirement)
    needed["torchvision"] = {**needed.get("torchvision", {}), "for torch": _partner()}
    return needed, extras


def package_findings(needed: Mapping[str, Any], extras: Mapping[str, Any]) -> Iterator[Found]:
    """What is missing or of a version that was never tried.

    Example:
        >>> list(package_findings({"torch": {"version": "", "wanted": ">=2.6", "fits": False}}, {}))
        [('broken', 'torch is not installed.', "pip install 'torch>=2.6'")]
    """
    for name, fact in needed.items():
        yield from _finding(name, fact, "broken")
    for extra, about in extras.items():
        for name, fact in about["packages"].items():
            if fact["version"]:  # an extra that nobody asked for is no finding
                yield from _finding(name, fact, "note", f" (extra {extra})")
    wanted = needed.get("torchvision", {}).get("for torch", "")
    have = needed.get("torch", {}).get("version", "")
    if wanted and have and not SpecifierSet(wanted).contains(have.partition("+")[0], prereleases=True):
        yield (
            "broken",
            f"torchvision {needed['torchvision']['version']} is made for torch {wanted}, not {have}.",
            f"pip install --upgrade 'torch{wanted}', or a torchvision made for your torch",
        )


def _finding(name: str, fact: Mapping[str, Any], level: str, where: str = "") -> Iterator[Found]:
    if fact["fits"]:
        return
    wanted = f"{name}{fact['wanted']}"
    if not fact["version"]:
        yield level, f"{name} is not installed.", f"pip install '{wanted}'"
    else:
        remedy = f"pip install '{wanted}'" if name != "python" else f"use Python {fact['wanted']}"
        yield level, f"{name} {fact['version']}{where} is outside {fact['wanted']}.", remedy


def _extra_of(requirement: Requirement) -> str:
    """The extra that asks for a requirement; empty for one that everybody needs."""
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return ""
    return next((name for name in USES if requirement.marker.evaluate({"extra": name})), "another")


def _looked_up(requirement: Requirement) -> dict[str, Any]:
    try:
        return _fact(version(requirement.name), requirement.specifier)
    except PackageNotFoundError:
        return {"version": "", "wanted": str(requirement.specifier), "fits": False}


def _fact(found: str, wanted: SpecifierSet) -> dict[str, Any]:
    fits = wanted.contains(found.partition("+")[0], prereleases=True)
    return {"version": found, "wanted": str(wanted), "fits": fits}


def _partner() -> str:
    """The torch that the installed torchvision says it was built for."""
    try:
        named = [Requirement(text) for text in requires("torchvision") or []]
    except PackageNotFoundError:
        return ""
    return next((str(one.specifier) for one in named if one.name == "torch"), "")
