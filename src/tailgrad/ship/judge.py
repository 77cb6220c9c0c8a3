"""From the logits of an artefact to predictions, by what is asked."""

from collections.abc import Callable, Sequence
from functools import partial

from tailgrad.ship.artefact import Artefact
from tailgrad.ship.decision import Floats, Prediction, Rule, focused, labelled, softmax
from tailgrad.ship.wish import Classes, Wish, check_labels_wish

Judge = Callable[[Sequence[str], Floats], list[Prediction]]
"""From N names and logits [N, K] to predictions."""


def judge_of(artefact: Artefact, wish: Wish) -> Judge:
    """What makes predictions of logits: the likeliest class, or of several labels those at their threshold.

    A class in focus is chosen by its threshold, unless a target prior is asked for.

    Args:
        artefact: says names, prior and thresholds.
        wish: what is asked.

    Raises:
        InputError: the wish does not fit.

    Example: see ``predict``.
    """
    about = artefact.description
    if about.thresholds is not None:
        check_labels_wish(wish)
        return partial(_labels, artefact, about.thresholds)
    target = Classes(about.names, about.counts, target=about.target_prior).asked(wish.target)
    least = about.abstain if wish.abstain is None else wish.abstain
    return partial(_classes, artefact, Rule(about.names, wish.top_k, least or 0.0), target)


def _labels(
    artefact: Artefact, thresholds: Sequence[float], files: Sequence[str], logits: Floats
) -> list[Prediction]:
    rows = artefact.probabilities(logits)
    return [labelled(file, row, artefact.names, thresholds) for file, row in zip(files, rows, strict=True)]


def _classes(
    artefact: Artefact, rule: Rule, target: Sequence[float] | None, files: Sequence[str], logits: Floats
) -> list[Prediction]:
    """The likeliest class; a class in focus by its threshold, unless a target prior is asked for."""
    focus, rows = artefact.description.focus, artefact.probabilities(logits, target)
    chosen: Sequence[int | None] = [None] * len(rows)
    if focus is not None and target is None:
        chosen = focused(softmax(logits), artefact.names.index(focus.name), focus.threshold)
    return [rule.decide(file, row, k) for file, row, k in zip(files, rows, chosen, strict=True)]
