"""tailgrad doctor."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import typer

from tailgrad.cli.options import JsonOption
from tailgrad.cli.output import show_json, show_text


def doctor(as_json: JsonOption = False) -> None:
    """Say what this installation and this machine are, what is wrong with them, and what to do.

    Looks at versions and whether they fit together, processors, GPUs, memory,
    optional packages and what each is for, and the folders that are written to.
    Ends with status 1 where something is broken; notes are no fault.

    Examples:
        tailgrad doctor
        tailgrad doctor --json
    """
    from tailgrad.recipes.checkup import checkup

    found = checkup()
    if as_json:
        findings = [asdict(finding) for finding in found.findings]
        show_json({"fine": found.fine, "facts": found.facts, "findings": findings})
    else:
        _show(found)
    if not found.fine:
        raise typer.Exit(1)


def _show(found: Any) -> None:
    for section, facts in found.facts.items():
        show_text(section.capitalize())
        for name, fact in facts.items():
            show_text(f"  {name}: {_words(fact)}")
        show_text("")
    show_text("Findings")
    for finding in found.findings:
        show_text(f"  {finding.level}: {finding.what} What to do: {finding.remedy}.")
    show_text("Nothing is broken." if found.fine else "Something is broken.")


def _words(fact: Any) -> str:
    if isinstance(fact, list):
        return "; ".join(fact) or "none"
    if not isinstance(fact, Mapping):
        return str(fact)
    if "packages" in fact:
        told = ", ".join(f"{name} {_words(one)}" for name, one in fact["packages"].items())
        return f"{told}; for {fact['for']}"
    if "path" in fact:
        return f"{fact['path']}{'' if fact['writable'] else ' (cannot be written)'}"
    wanted = f" (wanted {fact['wanted']})" if fact["wanted"] and not fact["fits"] else ""
    return f"{fact['version'] or 'not installed'}{wanted}"
