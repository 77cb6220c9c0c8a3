"""What was advised, as a table with its figures."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tailgrad.report.blocks import Block, Check, Checks, Table, Text

_ADVICE = (
    "Figures of one run can suggest a method, not show that it helps: compare it over three seeds or more. "
    "What lies inside the noise gives no advice."
)
_NOTHING = "nothing to conclude"
Advised = Sequence[Mapping[str, object]]


def advice_blocks(advice: Advised) -> tuple[Block, ...]:
    """What was advised at the end of a run, one row a finding, strongest evidence first.

    Args:
        advice: ``kind``, ``remedy``, ``reason`` of each.

    Example:
        >>> advice_blocks([{"kind": "conflict", "remedy": "csba", "reason": "Because."}])[0].rows[0].title
        'csba'
    """
    found: dict[tuple[str, str], list[str]] = {}
    for one in advice:
        key = (str(one["kind"]), str(one["reason"]))
        found.setdefault(key, []).append(str(one["remedy"]) or "no method here yet")
    rows = tuple(
        Check(", ".join(remedies), kind, "open" if kind == _NOTHING else "warn", reason)
        for (kind, reason), remedies in found.items()
    )
    if not rows:
        return ()
    caption = "What the figures speak for, the strongest evidence first"
    return (Checks(caption, ("try", "against", "why"), rows), Text(_ADVICE))


def advice_lead(advice: Advised) -> str:
    """The strongest finding and what answers it.

    Example:
        >>> advice_lead([{"kind": "conflict", "remedy": "csba", "reason": "Because."}])
        'Try first: csba, against conflict.'
        >>> advice_lead([])
        'This run holds no advice.'
    """
    if not advice:
        return "This run holds no advice."
    first = advice[0]
    if first["kind"] == _NOTHING:
        return "No finding that a method answers stands out of the noise: none is advised."
    return f"Try first: {first['remedy'] or 'no method here yet'}, against {first['kind']}."


def advice_of_methods(advice: Mapping[str, Sequence[Advised]]) -> tuple[Block, ...]:
    """What the runs of several methods speak for: in how many of them each finding stands.

    Args:
        advice: of every run of every method.

    Example:
        >>> one = [{"kind": "conflict", "remedy": "csba", "reason": "Because."}]
        >>> advice_of_methods({"ce": [one, []]})[0].rows
        (('ce', 'conflict', '1 of 2', 'csba'),)
    """
    rows = [
        (method, kind, f"{count} of {len(runs)}", ", ".join(_remedies(runs, kind)))
        for method, runs in advice.items()
        for kind, count in Counter(
            kind for run in runs for kind in {str(one["kind"]) for one in run}
        ).most_common()
        if kind != _NOTHING
    ]
    if not rows:
        return ()
    caption = "What the figures of the runs speak for, by method"
    return (
        Table(caption, ("method", "against", "runs in which it stands out", "try"), tuple(rows)),
        Text(_ADVICE),
    )


def _remedies(runs: Sequence[Advised], kind: str) -> list[str]:
    found = (str(one["remedy"]) or "no method here yet" for run in runs for one in run if one["kind"] == kind)
    return list(dict.fromkeys(found))
