"""Published claims beside what is measured here: studies, experiments, verdicts, and the record of both.

A **study** is a YAML file (``studies/<name>.yaml``, or the user's own): groups of runs, each one comparison
of ``recipes.compare``; an **analysis** (``analyses/<name>.py``), which makes further figures out of those
runs or runs an experiment of its own; and **claims**, each with what was printed and where. ``study`` runs a
file and gives an ``Evidence``: every claim as confirmed, not confirmed or "cannot be told".

To add a study: write its YAML file. To add an experiment: ``analyses/<name>.py`` with one function
``analyse(lab: Lab) -> Analysis`` and a file in ``studies`` that names it. Neither is listed anywhere else.
"""

from typing import TYPE_CHECKING

from tailgrad.lazy import lazy_package

if TYPE_CHECKING:
    from tailgrad.evidence.claim import Claim, Verdict, judge
    from tailgrad.evidence.claims_audit import ClaimsAudit, audit_claims
    from tailgrad.evidence.figures import Figure
    from tailgrad.evidence.lab import Analysis, Lab, Table
    from tailgrad.evidence.publish import publish
    from tailgrad.evidence.study import Evidence, Sitting, reproduce, study
    from tailgrad.evidence.study_file import StudyFile, read_study, studies

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

# On use: listing studies loads no PyTorch.
__getattr__ = lazy_package(
    __name__,
    {
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
    },
)
