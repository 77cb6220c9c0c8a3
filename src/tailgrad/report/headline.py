"""The first answer of a page: how good the model is, and on which classes it is worst."""

from tailgrad.evaluate import Estimate, Evaluation
from tailgrad.report.blocks import Card
from tailgrad.report.folders import Run
from tailgrad.report.wording import estimate, interval, number, percent, short

_WORST = 3


def cards(run: Run) -> tuple[Card, ...]:
    """Headline figures with their intervals, the class in focus first where there is one.

    Example: see ``write_report``.
    """
    test, focus = run.test, run.result.get("focus")
    worst = test.row(test.worst_class)
    found = (
        _card("macro-F1 on test images", test.macro_f1),
        _card("balanced accuracy", test.balanced_accuracy),
        _card("accuracy", test.accuracy),
        _card(f"worst class: {short(worst.name, 40)}", worst.f1),
    )
    if not focus:
        return found
    label = f"F1 of {short(focus['class'], 40)}, threshold {number(focus['threshold'])}"
    return (_card(label, Estimate.from_dict(focus["f1"])), *found)


def _card(label: str, figure: Estimate) -> Card:
    note = f"95 %: {interval(figure.low, figure.high)}"
    if figure.low is None or figure.high is None:
        return Card(label, number(figure.value), note)
    return Card(label, number(figure.value), note, (figure.low, figure.value, figure.high))


def lead(test: Evaluation) -> str:
    """How rare and frequent classes fare, and which are worst.

    Args:
        test: the evaluation on test images.

    Example:
        >>> from tailgrad.evaluate import evaluate_predictions
        >>> from tailgrad.types import ClassInfo
        >>> lead(evaluate_predictions([0, 0, 0, 1], [0, 0, 1, 1], ClassInfo(("a", "b"), (9, 3))))
        'The frequent third of the classes is found in 100 % of cases, the rare third in 50 %. ...
    """
    groups = {group.name: group for group in test.groups}
    found = []
    if "head" in groups and "tail" in groups:
        head, tail = (groups[name].recall.value for name in ("head", "tail"))
        found.append(
            f"The frequent third of the classes is found in {percent(head)} of cases, the rare third in "
            f"{percent(tail)}."
        )
    tested = sorted((row for row in test.classes if row.support), key=lambda row: row.f1.value)
    worst = "; ".join(
        f"{short(row.name)} at {estimate(row.f1)} with {row.train_count} training images"
        for row in tested[:_WORST]
    )
    return " ".join([*found, f"Lowest F1: {worst}."])
