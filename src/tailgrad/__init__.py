"""tailgrad: see which classes fight over a network's gradients, and give the rare ones a fair share."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

_HOME = {
    "audit": "tailgrad.data",
    "audit_claims": "tailgrad.evidence",
    "open_source": "tailgrad.data",
    "create_model": "tailgrad.models",
    "measure": "tailgrad.interference",
    "class_gradients": "tailgrad.interference",
    "Monitor": "tailgrad.interference.monitor",
    "TailgradClassifier": "tailgrad.integrations",
    "train": "tailgrad.recipes",
    "compare": "tailgrad.recipes",
    "diagnose": "tailgrad.recipes",
    "predict": "tailgrad.ship",
    "export": "tailgrad.ship",
    "save_pretrained": "tailgrad.ship",
    "from_pretrained": "tailgrad.ship",
    "reliability": "tailgrad.recipes",
    "new_recipe": "tailgrad.recipes",
    "follow": "tailgrad.recipes",
    "checkup": "tailgrad.recipes",
    "table": "tailgrad.recipes",
    "study": "tailgrad.evidence",
    "reproduce": "tailgrad.evidence",
    "write_report": "tailgrad.report",
    "advise": "tailgrad.report",
    "ledger": "tailgrad.correction_ledger",
    "InputError": "tailgrad.checks",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tailgrad' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
