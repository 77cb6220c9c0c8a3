"""Figures with intervals: logits [N, K] and targets [N] in, plain values out that JSON can hold.

Every function is pure, takes lists, NumPy arrays or tensors, and never sees a model or a run.
The smallest use:

    >>> from tailgrad.types import ClassInfo
    >>> result = evaluate([[2.0, 0.0], [0.0, 1.0]], [0, 1], ClassInfo(("cat", "dog"), (9, 3)))
    >>> result.macro_f1.value
    1.0

To add a figure: a function of confusion counts [..., K, K] in ``metrics.py`` (or a file of its own), a field
of `Evaluation`, an entry in ``__all__`` and a test against an independent computation. A figure without an
interval needs a reason.
"""

from tailgrad.evaluate.bootstrap import bootstrap_macro_f1
from tailgrad.evaluate.calibration import calibration_errors, expected_calibration_error
from tailgrad.evaluate.cells import Confusion
from tailgrad.evaluate.confusion import confusion_matrix
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.evaluation import evaluate, evaluate_predictions
from tailgrad.evaluate.groups import Group, shots, thirds
from tailgrad.evaluate.intervals import student_t, wilson, wilson_f1
from tailgrad.evaluate.metrics import (
    accuracy,
    balanced_accuracy,
    f1,
    geometric_mean,
    macro_f1,
    negative_log_likelihood,
    precision,
    recall,
)
from tailgrad.evaluate.paired import (
    ONE_SEED,
    McNemar,
    PairedDifference,
    holm,
    mcnemar_exact,
    paired_difference,
    wilcoxon,
)
from tailgrad.evaluate.result import ClassRow, Evaluation
from tailgrad.evaluate.thresholds import Threshold, apply_threshold, tune_threshold
from tailgrad.evaluate.unpaired import fisher_exact, newcombe

__all__ = [
    "ONE_SEED",
    "ClassRow",
    "Confusion",
    "Estimate",
    "Evaluation",
    "Group",
    "McNemar",
    "PairedDifference",
    "Threshold",
    "accuracy",
    "apply_threshold",
    "balanced_accuracy",
    "bootstrap_macro_f1",
    "calibration_errors",
    "confusion_matrix",
    "evaluate",
    "evaluate_predictions",
    "expected_calibration_error",
    "f1",
    "fisher_exact",
    "geometric_mean",
    "holm",
    "macro_f1",
    "mcnemar_exact",
    "negative_log_likelihood",
    "newcombe",
    "paired_difference",
    "precision",
    "recall",
    "shots",
    "student_t",
    "thirds",
    "tune_threshold",
    "wilcoxon",
    "wilson",
    "wilson_f1",
]
