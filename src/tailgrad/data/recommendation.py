"""From the findings of an audit to plain advice."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tailgrad.data.audit_text import noun

if TYPE_CHECKING:
    from tailgrad.data.audit import Audit

_FEW = 20
"""Training images below which a class is called "few" in the long-tail literature."""

_NEEDED = 3
"""Images a class needs for one in each of training, validation and test."""

_SIDES = (224, 192, 160, 128, 96, 64, 32)


def recommend(audit: "Audit") -> tuple[str, ...]:
    """What to do about what an audit found, most urgent first; the command to run comes last.

    Args:
        audit: the findings.

    Returns:
        Sentences, at least one.

    Example:
        >>> from tailgrad.data.audit import audit
        >>> recommend(audit("digits-lt"))[-1]
        'Then run: tailgrad compare digits-lt --methods ce,balanced_softmax,csba --seeds 3'
    """
    rules: tuple[Callable[[Audit], str], ...] = (
        _classes,
        _unreadable,
        _conflicts,
        _leakage,
        _duplicates,
        _scarce,
        _labels,
        _imbalance,
        _odd_columns,
        _resolution,
        _command,
    )
    return tuple(sentence for rule in rules if (sentence := rule(audit)))


def _present(audit: "Audit") -> dict[str, int]:
    return {name: n for name, n in audit.classes.items() if n}


def _classes(audit: "Audit") -> str:
    present = len(_present(audit))
    if audit.labels is not None:
        return "" if present else "Add images that have labels: none has any."
    return "" if present > 1 else f"Add images of another class: there is only {present} with images."


def _unreadable(audit: "Audit") -> str:
    n = len(audit.unreadable)
    if not n:
        return ""
    return (
        f"Replace or remove the {_number(n, 'unreadable file')}, or pass over them with "
        "--set data.skip_unreadable=true."
    )


def _conflicts(audit: "Audit") -> str:
    n = len(audit.conflicts)
    if not n:
        return ""
    if audit.labels is not None:
        return (
            f"Check the labels of {_number(n, 'picture')} that occur with different labels (listed above): "
            "a label that one copy has and another lacks is wrong on one of them."
        )
    return (
        f"Check the labels of {_number(n, _copied(audit))} that occur with different labels (listed above): "
        "at most one label of each can be right."
    )


def _copied(audit: "Audit") -> str:
    return "picture" if audit.table is None else "row pattern"


def _leakage(audit: "Audit") -> str:
    n = len(audit.leakage)
    if not n:
        return ""
    return (
        f"The given split has {_number(n, 'picture')} on both sides of a border. Figures on it are too good; "
        "for a benchmark report this and leave it, for data of your own move the copies into one part."
    )


def _duplicates(audit: "Audit") -> str:
    found = audit.duplicates
    if not found.groups or audit.parts:
        return ""
    items = "files" if audit.table is None else "rows"
    digits = 1 if found.expected_in_test < 9.95 else 0  # of one pair it is 0.32, which is not 0
    return (
        f"Keep copies together when splitting: {found.files} {items} lie in "
        f"{_number(found.groups, 'group')}, and a random 20 % test set would on average hold "
        f"{found.expected_in_test:.{digits}f} {noun(audit)}s with a copy outside it. tailgrad's "
        "own split does this (drawn anew for each seed, and saved with its hash)."
    )


def _scarce(audit: "Audit") -> str:
    short = [name for name, n in _present(audit).items() if n < _NEEDED]
    if short and audit.labels is not None:
        return (
            f"{_names(short)}: fewer than {_NEEDED} images, which cannot be split. Add images, or leave the "
            "label out with --drop-labels."
        )
    if short:
        return (
            f"{_names(short)}: fewer than {_NEEDED} {noun(audit)}s, which cannot be split. Add "
            f"{noun(audit)}s, merge the class into another, or drop it."
        )
    few = [name for name, n in _present(audit).items() if n < _FEW]
    if few:
        return (
            f"{_names(few)}: fewer than {_FEW} {noun(audit)}s. Collect more if you can; a recall measured on "
            "so few has a wide interval, so use several seeds."
        )
    return ""


def _labels(audit: "Audit") -> str:
    facts = audit.labels
    if facts is None:
        return ""
    said = []
    useless = [name for name, n in audit.classes.items() if not n] + list(facts.always)
    if useless:
        said.append(
            f"{_names(useless)}: no image or every image has it, so nothing can be learnt; leave it out with "
            "--drop-labels."
        )
    if facts.without:
        said.append(
            f"{_number(facts.without, 'image')} without a label will be taken as negatives of all labels; "
            "if nobody ever looked at them, leave them out of the list."
        )
    if facts.together:
        a, b, _, _ = facts.together[0]
        said.append(
            f"{_names([a, b])} nearly always come together: a network cannot tell them apart, and may learn "
            "one from the other."
        )
    return " ".join(said)


def _imbalance(audit: "Audit") -> str:
    factor = audit.imbalance_factor
    if audit.labels is not None:
        return (
            f"The imbalance factor is {factor:.1f}: judge label by label, by mean average precision and "
            "macro-AUC. The share of right answers is high where nothing is ever found."
        )
    if factor < 1.5:
        return f"The classes are nearly balanced (imbalance factor {factor:.1f}); accuracy is a fair figure."
    rarest = min(_present(audit), key=audit.classes.__getitem__)
    return (
        f"The imbalance factor is {factor:.1f}: judge by macro-F1 and the worst class and not by accuracy. "
        f"Rarest is {_names([rarest])} with {_number(audit.classes[rarest], noun(audit))}; if it is the one "
        "that matters, name it with --focus."
    )


def _odd_columns(audit: "Audit") -> str:
    odd = () if audit.table is None else audit.table.remarks
    return f"Look at the odd {_number(len(odd), 'column')} listed above before you train." if odd else ""


def _resolution(audit: "Audit") -> str:
    if audit.sizes is None:
        return ""
    short = audit.sizes.short_side[1]
    if short < _SIDES[-1]:
        return (
            f"The images are small (median shorter side {short} pixels): they are enlarged for the network."
        )
    side = next(side for side in _SIDES if side <= short)
    if side == _SIDES[-1]:
        return f"The images are small (median shorter side {short} pixels): train at their own size."
    return (
        f"The median shorter side is {short} pixels: {side} pixels (--set data.size={side}) loses little; "
        "fewer are faster, and all methods must get the same."
    )


def _command(audit: "Audit") -> str:
    skip = " --set data.skip_unreadable=true" if audit.unreadable else ""
    return f"Then run: tailgrad compare {audit.command_source}{skip} {to_compare(audit)}"


def to_compare(audit: "Audit") -> str:
    """Options of a first comparison: a baseline, and what most often helps such data.

    Example:
        >>> from tailgrad.data.audit import audit
        >>> to_compare(audit("digits-lt"))
        '--methods ce,balanced_softmax,csba --seeds 3'
    """
    if audit.labels is not None:
        return "--methods bce,asl,distribution_balanced,pairwise_auc --seeds 3"
    last = "csba" if audit.table is None else "smote,hist_gradient_boosting"
    return f"--methods ce,balanced_softmax,{last} --seeds 3"


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _names(names: list[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
