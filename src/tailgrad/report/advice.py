"""Advice drawn from what was measured: remedies by name, with the figures that led there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy import special

from tailgrad.checks import InputError
from tailgrad.evaluate import Evaluation, holm
from tailgrad.interference import Interference
from tailgrad.report.findings import (
    WIDE_RECALL,
    Finding,
    Z,
    conflict,
    miscalibration,
    overfitting,
    pairs_of,
    prior_bias,
)
from tailgrad.report.wording import short

_REMEDIES = {
    "conflict": ("csba", "class_heads", "upgrad", "pcgrad", "pcngd", "pcnsgd", "cagrad", "mgda"),
    "prior bias": ("logit_adjustment", "balanced_softmax", "class_weights"),
    "overfitting": ("asymmetric_sam", "sam_a", "sam", "mixup", "weight_balancing"),
    "miscalibration": ("temperature_scaling", "label_smoothing"),
}
_CLAIMS = {
    "conflict": "Rare and frequent classes oppose each other beyond softmax competition and class prior",
    "prior bias": "Predictions lean to the classes that are frequent in training",
    "overfitting": "The rarer a class, the further its held-out loss is above its training loss",
    "miscalibration": "Confidence does not match success",
}
_WIDE_COSINE = 1.0  # an interval that is wider says little


@dataclass(frozen=True, slots=True)
class Advice:
    """One remedy and why.

    Args:
        kind: ``conflict``, ``prior bias``, ``overfitting``, ``miscalibration``, ``too few samples`` or
            ``nothing to conclude``.
        remedy: name of a method; for the last two kinds what to do in words; empty where no method here yet
            answers the finding.
        reason: one sentence with the figures and their intervals.
        evidence: the figures by name.
        strength: effect over noise, by which advice is ranked; 1 is the 5 % bar after Holm's correction over
            all that was tested, and findings are above it.

    Example:
        >>> Advice("conflict", "csba", "Because.", {}, 2.0).remedy
        'csba'
    """

    kind: str
    remedy: str
    reason: str
    evidence: dict[str, float]
    strength: float


def advise(
    interference: Interference | None,
    evaluation: Evaluation | None = None,
    *,
    training: Interference | None = None,
    methods: Iterable[str] | None = None,
) -> list[Advice]:
    """Remedies for what stands out of the noise, the strongest evidence first.

    - conflict: some rare-frequent pair of classes has an excess below 0 (t test from its 90 % interval, Holm
      over the pairs), on parameters other than the head alone;
    - prior bias: the frequent third of the classes is predicted more often than it occurs (exact binomial
      test on the images wrongly given to it and wrongly kept from it), and recall does not fall with the
      training count;
    - overfitting: held-out minus training loss falls with the training count (permutation test of ranks);
    - miscalibration: the ECE is above the most that a calibrated model gives on as many images.

    Nothing beyond the noise gives one advice of kind ``nothing to conclude``, with the figures; intervals too
    wide to tell anything ask for more examples or seeds, never for a method. Rare and frequent are the thirds
    by training count (of the evaluation, else of the measurement).

    Args:
        interference: best of held-out or early-training images; conflict at convergence on training images is
            no evidence by itself. None where it was not measured.
        evaluation: of the same classes.
        training: a measurement of the same model on training images, ``interference`` being of held-out ones.
        methods: names that may be advised, others are left out; None for all. Underscores and case are
            ignored, and the given spelling comes back.

    Raises:
        InputError: nothing to read, or inputs of different classes.

    Source: ours; tests as named above.

    Example:
        >>> from tailgrad.evaluate import evaluate_predictions
        >>> from tailgrad.types import ClassInfo
        >>> target = [0] * 50 + [1] * 50
        >>> result = evaluate_predictions([0] * 90 + [1] * 10, target, ClassInfo(("cat", "dog"), (900, 30)))
        >>> [(advice.kind, advice.remedy) for advice in advise(None, result, methods=["logit_adjustment"])]
        [('prior bias', 'logit_adjustment')]
    """
    counts = _training_counts(interference, evaluation, training)
    known = None if methods is None else tuple(methods)
    tested = [
        None if interference is None else conflict(interference, counts),
        None if evaluation is None else prior_bias(evaluation, counts),
        None if interference is None or training is None else overfitting(interference, training, counts),
        None if evaluation is None else miscalibration(evaluation),
    ]
    findings = [found for found in tested if found is not None]
    strengths = [_strength(p) for p in holm([found.p for found in findings])]
    advice = [
        one
        for found, strength in zip(findings, strengths, strict=True)
        if strength > 1
        for one in _named(found, strength, known)
    ] or [_nothing(findings)]
    return sorted([*advice, *_too_few(interference, evaluation, counts)], key=lambda one: -one.strength)


def words(advice: Sequence[Advice]) -> str:
    """Numbered lines, one a finding with its remedies.

    Example:
        >>> print(words([Advice("conflict", name, "Because.", {}, 2.0) for name in ("csba", "pcgrad")]))
        1. csba, pcgrad (conflict): Because.
    """
    return "\n".join(f"{place}. {line}" for place, line in enumerate(lines(advice), 1))


def lines(advice: Sequence[Advice]) -> list[str]:
    """One sentence a finding, with the remedies that answer it in their order.

    Example:
        >>> lines([Advice("conflict", "", "Because.", {}, 2.0)])
        ['no method here yet (conflict): Because.']
    """
    found: dict[tuple[str, str], list[str]] = {}
    for one in advice:
        found.setdefault((one.kind, one.reason), []).append(one.remedy or "no method here yet")
    return [f"{', '.join(remedies)} ({kind}): {reason}" for (kind, reason), remedies in found.items()]


def _named(found: Finding, strength: float, methods: Sequence[str] | None) -> list[Advice]:
    remedies = list(_REMEDIES[found.kind])
    if methods is not None:
        spelling = {_bare(name): name for name in methods}
        remedies = [spelling[_bare(name)] for name in remedies if _bare(name) in spelling]
    reason = f"{_CLAIMS[found.kind]}: {found.figures}."
    return [
        Advice(found.kind, name, reason, found.evidence, strength * (1 - place / 1000))
        for place, name in enumerate(remedies or [""])
    ]


def _bare(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _nothing(findings: Sequence[Finding]) -> Advice:
    figures = "; ".join(found.figures for found in findings)
    # each finding has a p value of its own, which may look better than it is among several
    among = len(findings) > 1 and min(found.p for found in findings) < 0.05
    once = f", once corrected for all {len(findings)} things tested" if among else ""
    reason = f"Inside the noise{once}: {figures}." if findings else "No figure with an interval was measured."
    evidence = {f"{found.kind}: {key}": value for found in findings for key, value in found.evidence.items()}
    return Advice("nothing to conclude", "change nothing on these grounds", reason, evidence, 0.0)


def _training_counts(
    interference: Interference | None, evaluation: Evaluation | None, training: Interference | None
) -> tuple[int, ...]:
    given = {
        "evaluation": evaluation and tuple((row.name, row.train_count) for row in evaluation.classes),
        "training": training and _counted(training),
        "interference": interference and _counted(interference),
    }
    found = {source: classes for source, classes in given.items() if classes}
    if not found:
        raise InputError("interference or evaluation must be given, got neither; measure or evaluate first")
    first = next(iter(found))
    for source, classes in found.items():
        names = [[name for name, _ in one] for one in (classes, found[first])]
        if names[0] != names[1]:
            raise InputError(
                f"{source} must hold the classes of {first}, got {names[0][:5]} and {names[1][:5]}; "
                "measure and evaluate one model"
            )
    return tuple(count for _, count in found[first])


def _counted(measured: Interference) -> tuple[tuple[str, int], ...]:
    trained = getattr(measured, "train_counts", None)
    counts = measured.counts if trained is None else trained
    return tuple(zip(measured.class_names, counts.tolist(), strict=True))


def _strength(p: float | None) -> float:
    return float(-special.ndtri(max(1.0 if p is None else p, 1e-300) / 2)) / Z


def _too_few(
    interference: Interference | None, evaluation: Evaluation | None, counts: Sequence[int]
) -> list[Advice]:
    checks = [
        None if interference is None else _unclear_conflict(interference, counts),
        None if evaluation is None else _unclear_recall(evaluation),
    ]
    return [advice for advice in checks if advice is not None]


def _unclear_conflict(measured: Interference, counts: Sequence[int]) -> Advice | None:
    found = pairs_of(measured, counts)
    if found is None:
        return None
    low, high, pairs = found
    unclear = [pair for pair, width in zip(pairs, high - low, strict=True) if not width < _WIDE_COSINE]
    if 2 * len(unclear) < len(pairs):
        return None
    names = ", ".join(dict.fromkeys(short(measured.class_names[rare]) for rare, _ in unclear[:5]))
    reason = (
        f"The conflict of {len(unclear)} of {len(pairs)} rare-frequent pairs is too noisy to say "
        f"(intervals missing or wider than {_WIDE_COSINE:g}), with {names}."
    )
    evidence = {"pairs": float(len(pairs)), "pairs_unclear": float(len(unclear))}
    return Advice("too few samples", "collect more examples of the rare classes", reason, evidence, 0.5)


def _unclear_recall(evaluation: Evaluation) -> Advice | None:
    tail = next((group for group in evaluation.groups if group.name == "tail"), None)
    if tail is None or tail.recall.low is None or tail.recall.high is None:
        return None
    width = tail.recall.high - tail.recall.low
    if width <= WIDE_RECALL:
        return None
    reason = f"The mean recall of the rare third of the classes is only known to be {tail.recall} (95 %)."
    evidence = {"recall_low": tail.recall.low, "recall_high": tail.recall.high}
    return Advice("too few samples", "repeat with more seeds or test images", reason, evidence, 0.4)
