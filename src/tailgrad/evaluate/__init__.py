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

from tailgrad.evaluate.abstention import Abstention, abstention, area_under_risk_coverage
from tailgrad.evaluate.bootstrap import bootstrap_macro_f1
from tailgrad.evaluate.calibration import calibration_errors, expected_calibration_error
from tailgrad.evaluate.cells import Confusion
from tailgrad.evaluate.class_calibration import (
    ClassCalibration,
    class_calibration,
    debiased_calibration_error,
)
from tailgrad.evaluate.clopper_pearson import clopper_pearson
from tailgrad.evaluate.conformal import Conformal, conformal, images_needed, prediction_sets
from tailgrad.evaluate.confusion import confusion_matrix
from tailgrad.evaluate.cosine_bounds import cosine_matrix_possible, mean_cosine_possible
from tailgrad.evaluate.crossed import crossed_bootstrap
from tailgrad.evaluate.estimate import Estimate
from tailgrad.evaluate.evaluation import evaluate, evaluate_predictions
from tailgrad.evaluate.false_head import FalseHead, false_head_rate
from tailgrad.evaluate.finding import Finding
from tailgrad.evaluate.groups import Group, shots, thirds
from tailgrad.evaluate.improvement import probability_of_improvement
from tailgrad.evaluate.integer_counts import ColumnCounts, Reconstruction, TableCounts, reconstruct
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
from tailgrad.evaluate.power import minimum_detectable_difference, pairs_needed, power_of_paired_test
from tailgrad.evaluate.printed_checks import (
    accuracy_follows,
    f1_follows,
    means_follow,
    predictions_follow,
    supports_follow,
)
from tailgrad.evaluate.printed_counts import counts_exist
from tailgrad.evaluate.printed_gain import (
    McNemarCase,
    gain_of_class,
    gain_overall,
    gain_without_best,
    mcnemar_cases,
)
from tailgrad.evaluate.printed_parameters import parameters_follow
from tailgrad.evaluate.printed_profile import profile_follows
from tailgrad.evaluate.printed_table import PrintedColumn, PrintedTable
from tailgrad.evaluate.ranks import Ranks, critical_difference
from tailgrad.evaluate.reliability import Reliability, ReliabilityOptions, evaluate_reliability
from tailgrad.evaluate.result import ClassRow, Evaluation
from tailgrad.evaluate.thresholds import Threshold, apply_threshold, tune_threshold
from tailgrad.evaluate.units import Units, units_of
from tailgrad.evaluate.unpaired import fisher_exact, newcombe

__all__ = [
    "ONE_SEED",
    "Abstention",
    "ClassCalibration",
    "ClassRow",
    "ColumnCounts",
    "Conformal",
    "Confusion",
    "Estimate",
    "Evaluation",
    "FalseHead",
    "Finding",
    "Group",
    "McNemar",
    "McNemarCase",
    "PairedDifference",
    "PrintedColumn",
    "PrintedTable",
    "Ranks",
    "Reconstruction",
    "Reliability",
    "ReliabilityOptions",
    "TableCounts",
    "Threshold",
    "Units",
    "abstention",
    "accuracy",
    "accuracy_follows",
    "apply_threshold",
    "area_under_risk_coverage",
    "balanced_accuracy",
    "bootstrap_macro_f1",
    "calibration_errors",
    "class_calibration",
    "clopper_pearson",
    "conformal",
    "confusion_matrix",
    "cosine_matrix_possible",
    "counts_exist",
    "critical_difference",
    "crossed_bootstrap",
    "debiased_calibration_error",
    "evaluate",
    "evaluate_predictions",
    "evaluate_reliability",
    "expected_calibration_error",
    "f1",
    "f1_follows",
    "false_head_rate",
    "fisher_exact",
    "gain_of_class",
    "gain_overall",
    "gain_without_best",
    "geometric_mean",
    "holm",
    "images_needed",
    "macro_f1",
    "mcnemar_cases",
    "mcnemar_exact",
    "mean_cosine_possible",
    "means_follow",
    "minimum_detectable_difference",
    "negative_log_likelihood",
    "newcombe",
    "paired_difference",
    "pairs_needed",
    "parameters_follow",
    "power_of_paired_test",
    "precision",
    "prediction_sets",
    "predictions_follow",
    "probability_of_improvement",
    "profile_follows",
    "recall",
    "reconstruct",
    "shots",
    "student_t",
    "supports_follow",
    "thirds",
    "tune_threshold",
    "units_of",
    "wilcoxon",
    "wilson",
    "wilson_f1",
]
