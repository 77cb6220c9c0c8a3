"""Published claims beside what is measured here: studies, experiments, verdicts, and the record of both.

A **study** is a YAML file (``studies/<name>.yaml``, or the user's own): groups of runs, each one comparison
of ``recipes.compare``; an **analysis** (``analyses/<name>.py``), which makes further figures out of those
runs or runs an experiment of its own; and **claims**, each with what was printed and where. ``study`` runs a
file and gives an ``Evidence``: every claim as confirmed, not confirmed or "cannot be told".

To add a study: write its YAML file. To add an experiment: ``analyses/<name>.py`` with one function
``analyse(lab: Lab) -> Analysis`` and a file in ``studies`` that names it. Neither is listed anywhere else.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tailgrad.evidence.claim import Claim, Verdict, judge
    from tailgrad.evidence.claims_audit import ClaimsAudit, audit_claims
    from tailgrad.evidence.figures import Figure
    from tailgrad.evidence.lab import Analysis, Lab, Table
    from tailgrad.evidence.publish import publish
    from tailgrad.evidence.study import Evidence, Sitting, reproduce, study
    from tailgrad.evidence.study_file import StudyFile, read_study, studies

_HOME = {
    "Analysis": "lab",
    "Claim": "claim",
    "ClaimsAudit": "claims_audit",
    "Evidence": "study",
    "Figure": "figures",
    "Lab": "lab",
    "Sitting": "study",
    "StudyFile": "study_file",
    "Table": "lab",
    "Verdict": "claim",
    "audit_claims": "claims_audit",
    "judge": "claim",
    "publish": "publish",
    "read_study": "study_file",
    "reproduce": "study",
    "studies": "study_file",
    "study": "study",
}
__all__ = [
    "Analysis",
    "Claim",
    "ClaimsAudit",
    "Evidence",
    "Figure",
    "Lab",
    "Sitting",
    "StudyFile",
    "Table",
    "Verdict",
    "audit_claims",
    "judge",
    "publish",
    "read_study",
    "reproduce",
    "studies",
    "study",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tailgrad.evidence' has no attribute {name!r}")
    return getattr(import_module(f"tailgrad.evidence.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class _Lazy(ModuleType):
    """A package whose names are resolved on use."""

    def __setattr__(self, name: str, value: object) -> None:
        # Importing a file would otherwise put it in the place of the function of the same name.
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Lazy
