"""Whether this machine and this installation can do the work: what is there, what is wrong, what to do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tailgrad.recipes.checkup_packages import Found, package_findings, packages

BROKEN = "broken"
_COMPILED = ("torch", "torchvision", "pyarrow", "scipy")
"""Packages that can be installed and yet not load, where what they were built against is missing."""


@dataclass(frozen=True)
class Finding:
    """Something that a person should know.

    Args:
        level: "broken" where something cannot work, "note" otherwise.
        what: one sentence.
        remedy: what to do, as one would say it.

    Example:
        >>> Finding("note", "No GPU was found.", "nothing, where a CPU is enough").level
        'note'
    """

    level: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Checkup:
    """What ``checkup`` found.

    Args:
        facts: by section, what was looked at and what it is.
        findings: what is broken first, then notes.

    Example:
        >>> Checkup({}, (Finding("broken", "a", "b"),)).fine
        False
    """

    facts: Mapping[str, Mapping[str, Any]]
    findings: tuple[Finding, ...]

    @property
    def fine(self) -> bool:
        """Whether nothing is broken."""
        return all(finding.level != BROKEN for finding in self.findings)


def checkup() -> Checkup:
    """Look at packages, processors, memory, and the folders that are written to.

    Example:
        >>> sorted(checkup().facts)
        ['extras', 'folders', 'machine', 'packages']
    """
    required, extras = packages()
    facts = {"packages": required, "machine": {}, "folders": {}, "extras": extras}
    found = [*package_findings(required, extras), *(fault for name in _COMPILED for fault in loads(name))]
    if not any(what.startswith("torch cannot") for _, what, _ in found):
        from tailgrad.recipes.checkup_hardware import hardware, hardware_findings
        from tailgrad.recipes.checkup_places import place_findings, places

        facts |= {"machine": hardware(), "folders": places()}
        found += [*hardware_findings(facts["machine"]), *place_findings(facts["folders"])]
    findings = [Finding(*one) for one in found]
    return Checkup(facts, tuple(sorted(findings, key=lambda finding: finding.level != BROKEN)))


def loads(name: str) -> Iterator[Found]:
    """A finding where a package is installed and does not load.

    Example:
        >>> list(loads("json"))
        []
    """
    try:
        if find_spec(name) is not None:
            import_module(name)
    except Exception as error:  # whatever a library does that is built against another one
        first = (str(error).splitlines() or [""])[0]
        yield BROKEN, f"{name} cannot be loaded: {type(error).__name__}: {first}", f"install {name} anew"
