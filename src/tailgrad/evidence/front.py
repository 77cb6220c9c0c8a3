"""What a page of evidence says first: does a method beat controls that have as many parameters?"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tailgrad.evidence.claim import CONFIRMED, NOT_CONFIRMED, UNKNOWN
from tailgrad.evidence.figures import rounded
from tailgrad.evidence.matched import Matched, as_large, controls_of, matched

Content = Mapping[str, Any]
VERDICTS = (CONFIRMED, NOT_CONFIRMED, UNKNOWN)
BESIDE = (
    "Run side by side without a claim beforehand: a method and a control with as many parameters, in "
    "macro-F1, with 95 % intervals that no correction for their number widens:"
)
OTHERS = "What else the studies were made to answer, chosen by its subject whatever came out:"
_BAD_NEWS_FIRST = (NOT_CONFIRMED, UNKNOWN, CONFIRMED)
_WORDS = {CONFIRMED: "beats", NOT_CONFIRMED: "does not beat", UNKNOWN: "is not shown to beat"}


@dataclass(frozen=True)
class FrontClaim:
    """A claim that is told first, with the record that has measured it.

    Args:
        claim: as it stands in ``evidence.json``.
        study: its study.
        size: of the record.

    Example:
        >>> FrontClaim({"verdict": "confirmed", "text": "a", "why": "b"}, "mine", "cpu").line
        '- **Confirmed**: a (mine, size cpu: b).'
    """

    claim: Content
    study: str
    size: str

    @property
    def line(self) -> str:
        """One line of a list."""
        where = self.study if self.size == "full" else f"{self.study}, size {self.size}"
        verdict = str(self.claim["verdict"]).capitalize()
        return f"- **{verdict}**: {self.claim['text']} ({where}: {self._found})."

    @property
    def _found(self) -> str:
        """As the record has it, in three decimals where there is an interval."""
        found = self.claim.get("found")
        if found is None or found.get("low") is None:
            return str(self.claim["why"])
        ends = f"[{rounded(found['low'])}, {rounded(found['high'])}]"
        _, about, rest = str(self.claim["why"]).partition("], ")
        return f"measured {rounded(found['value'])} {ends}, {rest}" if about else str(self.claim["why"])


def ranked(records: Sequence[Content]) -> dict[str, list[Content]]:
    """The records of every study, best first: the full size, then the one with the most seeds or splits.

    Smoke editions are left out: their verdicts mean nothing.

    Example:
        >>> sizes = [{"study": "a", "size": size, "seeds": [0]} for size in ("smoke", "cpu", "full")]
        >>> [content["size"] for content in ranked(sizes)["a"]]
        ['full', 'cpu']
    """
    found: dict[str, list[Content]] = {}
    best = sorted(records, key=lambda c: (c["size"] == "full", _units(c)), reverse=True)
    for content in sorted(best, key=lambda c: str(c["study"])):
        if content["size"] != "smoke":
            found.setdefault(str(content["study"]), []).append(content)
    return found


def _units(content: Content) -> int:
    """Seeds, or splits where those are more: what the claims' figures are means of."""
    found = [claim["found"] for claim in content.get("claims", ()) if claim["found"] is not None]
    return max((len(content["seeds"]), *(len(one.get("values", ())) for one in found)))


def front(records: Sequence[Content]) -> Iterator[str]:
    """Paragraphs: for every method what it beats and what it does not, then the claims one by one.

    Told are claims against a control with as many parameters (to 1 %, by the runs of the record), and those
    that ask for it (``front: true``). Which methods are controls of which is read from ``paper`` of their
    files. A claim counts in the best record that has measured it. Pairs that were run without a claim follow.

    Args:
        records: contents of ``evidence.json`` of several studies and sizes.

    Example:
        >>> list(front([]))
        ['CSBA against controls with as many parameters: what is claimed waits to be run.']
    """
    measured, waiting = _told_first(records)
    against = [one for one in measured if _has_control(one.claim)]
    others = [one for one in measured if not _has_control(one.claim)]
    for method in dict.fromkeys(one.claim["method"] for one in against):
        yield _of_method(method, [one for one in against if one.claim["method"] == method])
    if against:
        yield _lines(against)
    else:
        yield "CSBA against controls with as many parameters: what is claimed waits to be run."
    beside = list(_beside(records, measured))
    if beside:
        yield f"{BESIDE}\n\n" + "\n".join(beside)
    if others:
        yield f"{OTHERS}\n\n{_lines(others)}"
    if measured and waiting:
        yield f"Not measured yet: {waiting} more of these two kinds."


def _lines(claims: Sequence[FrontClaim]) -> str:
    order = sorted(claims, key=lambda one: _BAD_NEWS_FIRST.index(one.claim["verdict"]))
    return "\n".join(one.line for one in order)


def _beside(records: Sequence[Content], told: Sequence[FrontClaim]) -> Iterator[str]:
    """Lines on runs that no claim told first speaks of, each pair once a study."""
    keys = ("group", "method", "against")
    seen = {(one.study, *(one.claim.get(key) for key in keys)) for one in told}
    for study, content in _by_study(records):
        for pair in matched(content):
            key = study, pair.group, pair.method, pair.control
            if key not in seen:
                seen.add(key)
                yield _pair(study, pair)


def _by_study(records: Sequence[Content]) -> Iterator[tuple[str, Content]]:
    for study, contents in ranked(records).items():
        yield from ((study, content) for content in contents)


def _pair(study: str, pair: Matched) -> str:
    mean, n = pair.gain.mean, len(pair.gain.values)
    ends = "" if mean.low is None or mean.high is None else f" [{mean.low:+.3f}, {mean.high:+.3f}]"
    return (
        f"- `{pair.method}` less `{pair.control}` on {pair.source}: {mean.value:+.3f}{ends}, n = {n}: "
        f"{pair.verdict} ({study}, {pair.group})."
    )


def _told_first(records: Sequence[Content]) -> tuple[list[FrontClaim], int]:
    """Claims that are measured, and the number of those that wait in every record of their study."""
    measured: dict[tuple[str, str], FrontClaim] = {}
    waiting: set[tuple[str, str]] = set()
    for study, content in _by_study(records):
        for claim in (one for one in content["claims"] if _is_front(one, content)):
            key = study, str(claim["id"])
            if claim["found"] is None:
                waiting.add(key)
            else:
                measured.setdefault(key, FrontClaim(claim, study, str(content["size"])))
    return list(measured.values()), len(waiting - measured.keys())


def _is_front(claim: Content, content: Content) -> bool:
    if claim.get("front"):
        return True
    if not _has_control(claim):
        return False
    against = str(claim.get("against_group") or claim["group"]), str(claim["against"])
    return as_large(content, (str(claim["group"]), str(claim["method"])), against)


def _has_control(claim: Content) -> bool:
    return claim.get("against") in controls_of(str(claim.get("method")))


def _of_method(method: str, claims: Sequence[FrontClaim]) -> str:
    counts = Counter(one.claim["verdict"] for one in claims)
    number = f"{len(claims)} claim{'' if len(claims) == 1 else 's'} measured"
    told = f"`{method}` against controls with as many parameters: of {number}, {in_words(counts)}."
    for verdict in VERDICTS:
        names = [_control(one) for one in claims if _shown(one) == verdict and _says_higher(one)]
        if names:
            told += f" It {_WORDS[verdict]} {', '.join(names)}."
    return told


def _shown(one: FrontClaim) -> str:
    """The verdict on being better at all: a gain smaller than printed or claimed may still be one."""
    high = one.claim["found"]["high"]
    is_open = one.claim["verdict"] == NOT_CONFIRMED and (high is None or high >= 0)
    return UNKNOWN if is_open else str(one.claim["verdict"])


def _says_higher(one: FrontClaim) -> bool:
    """Whether what is claimed is that the method is better; anything else is told by its verdict alone."""
    return one.claim.get("above") is not None and one.claim["above"] >= 0


def _control(one: FrontClaim) -> str:
    metric = one.claim.get("metric") or "macro_f1"
    which = "" if metric == "macro_f1" else f", {metric}"
    return f"`{one.claim['against']}` ({one.study}, {one.claim['group']}{which})"


def in_words(counts: Mapping[str, int]) -> str:
    """Verdicts counted.

    Example:
        >>> in_words(Counter(["confirmed", "cannot be told", "cannot be told"]))
        '1 is confirmed, 0 are not confirmed and 2 cannot be told'
    """
    sure = (f"{counts[word]} {'is' if counts[word] == 1 else 'are'} {word}" for word in VERDICTS[:2])
    return f"{', '.join(sure)} and {counts[UNKNOWN]} {UNKNOWN}"
