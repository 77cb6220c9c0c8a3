"""Why a model may fail on some classes: what was looked at, and what stands out of the noise."""

from collections.abc import Sequence

from tailgrad.evaluate import Evaluation, Group, holm
from tailgrad.interference import Interference
from tailgrad.interference.findings import hurt_classes, where
from tailgrad.report.blocks import Check
from tailgrad.report.findings import WIDE_RECALL, Finding, conflict, miscalibration, overfitting, prior_bias
from tailgrad.report.folders import Run
from tailgrad.report.look_alikes import look_alikes
from tailgrad.report.wording import estimate, number, p_value, short, signed

NOT_MEASURED = "Interference was not measured in this run (interference.enabled=true measures it)."
_TITLES = {
    "conflict": "Classes that oppose one another",
    "prior bias": "A leaning to frequent classes",
    "overfitting": "Rare classes learnt by heart",
}
_MISSING = {
    "conflict": "No pair of a rare and a frequent class has an interval here, or no class is rare.",
    "prior bias": "No class is rarer than another.",
    "overfitting": "It takes measurements of training and held-out images, and rare classes.",
}
_FEW = 20  # training images below which a class counts as one with few


def causes(run: Run) -> tuple[Check, ...]:
    """What speaks for each cause in one run; p values are corrected over what advice is tested for.

    Args:
        run: the run.

    Example: see ``write_report``.
    """
    heldout, training = measured(run), run.interference.get("train")
    counts = run.classes.counts
    found = {
        "conflict": None if heldout is None else conflict(heldout, counts),
        "prior bias": prior_bias(run.test, counts),
        "overfitting": overfitting(heldout, training, counts)
        if "heldout" in run.interference and heldout and training
        else None,
    }
    calibration = miscalibration(run.test)  # no cause of errors, but one of the tests behind the advice
    tested = [*found.values(), calibration]
    corrected = holm([None if one is None else one.p for one in tested])[: len(found)]
    checks = [_check(kind, one, p) for (kind, one), p in zip(found.items(), corrected, strict=True)]
    return (*checks, _pushed_back(heldout), _few(run.test), _alike(run.test))


def measured(run: Run) -> Interference | None:
    """The measurement of held-out images, else that of early training.

    Example: see ``causes``.
    """
    found = (run.interference.get(moment) for moment in ("heldout", "early"))
    return next((one for one in found if one is not None), None)


def lead(checks: Sequence[Check]) -> str:
    """What stands out, in a sentence or two.

    Example:
        >>> prior = Check("Prior bias", "stands out", "warn", "")
        >>> lead([prior, Check("Conflict", "not measured", "missing", "")])
        'Out of the noise stands: prior bias. Not measured, or without a test: conflict.'
    """
    out = _listed(checks, ("warn",))
    unclear = _listed(checks, ("open", "missing"))
    first = (
        f"Out of the noise stands: {out}." if out else "Nothing that was looked at stands out of the noise."
    )
    return first + (f" Not measured, or without a test: {unclear}." if unclear else "")


def _listed(checks: Sequence[Check], tones: tuple[str, ...]) -> str:
    titles = [check.title for check in checks if check.tone in tones]
    return "; ".join(title[:1].lower() + title[1:] for title in titles)


def _check(kind: str, found: Finding | None, p: float | None) -> Check:
    title = _TITLES[kind]
    if found is None or p is None:
        return Check(title, "not measured", "missing", _MISSING[kind])
    text = found.figures[:1].upper() + found.figures[1:] + "."
    if p < 0.05:
        return Check(title, "stands out", "warn", text)
    return Check(title, "inside the noise", "fine", text)


def _pushed_back(found: Interference | None) -> Check:
    """Under a plain step, who takes back what rare classes gain: an estimate, without a test."""
    title = "Frequent classes that push rare ones back"
    hurt = None if found is None or getattr(found, "contributions", None) is None else hurt_classes(found)
    if found is None or hurt is None:
        return Check(title, "not measured", "missing", NOT_MEASURED)
    if not hurt:
        return Check(title, "none found", "fine", "No class loses half of its own descent to the others.")
    names = found.class_names
    told = "; ".join(
        f"{short(names[one.label])} loses {one.taken:.2g} times what it gains, mostly to "
        f"{' and '.join(short(names[k]) for k in one.culprits)}"
        for one in hurt[:3]
    )
    place = where(found, hurt)
    text = (
        f"{told}. "
        if place is None
        else f"{told}. Most in {place.name} (excess there {signed(place.excess, 2)}). "
    )
    return Check(
        title, f"{len(hurt)} found", "open", f"{text}An estimate under a plain step, without interval."
    )


def _few(test: Evaluation) -> Check:
    title = "Too few training images"
    few = [row.name for row in test.classes if row.train_count < _FEW]
    groups = {group.name: group for group in test.groups}
    tail, head = groups.get("tail"), groups.get("head")
    if tail is None or head is None or tail.recall.high is None or head.recall.low is None:
        return Check(title, "cannot be told", "open", f"{_count(few)}.")
    text = f"{_count(few)}. {_thirds(tail, head)}"
    if tail.recall.high < head.recall.low:
        return Check(title, "rare third worse", "warn", text)
    if tail.recall.low is None or tail.recall.high - tail.recall.low > WIDE_RECALL:
        return Check(title, "cannot be told", "open", f"{text} Too wide to say more.")
    return Check(title, "inside the noise", "fine", text)


def _count(few: Sequence[str]) -> str:
    if not few:
        return f"Every class has at least {_FEW} training images"
    names = ", ".join(short(name) for name in few[:3]) + (f" and {len(few) - 3} more" if len(few) > 3 else "")
    return f"Fewer than {_FEW} training images: {names}"


def _thirds(tail: Group, head: Group) -> str:
    return (
        f"Mean recall of the rare third of the classes {estimate(tail.recall)}, of the frequent third "
        f"{estimate(head.recall)}."
    )


def _alike(test: Evaluation) -> Check:
    title = "Classes that look alike"
    found = look_alikes(test.confusion)
    if not found:
        return Check(title, "inside the noise", "fine", "No two classes share more errors than others do.")
    names = [row.name for row in test.classes]
    told = "; ".join(
        f"{short(names[one.first])} and {short(names[one.second])}: {one.errors} errors where "
        f"{number(one.expected, 1)} are expected (p {p_value(one.p)}, Holm)"
        for one in found[:3]
    )
    more = f"; {len(found) - 3} more pairs" if len(found) > 3 else ""
    return Check(title, f"{len(found)} pair{'s'[: len(found) - 1]}", "warn", f"{told}{more}.")
