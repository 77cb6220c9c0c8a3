"""A published claim, and what a measured figure says about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tailgrad.evaluate import holm
from tailgrad.evidence.figures import Figure

CONFIRMED, NOT_CONFIRMED, UNKNOWN = "confirmed", "not confirmed", "cannot be told"
_LEVEL = 0.05
KINDS = ("published", "ours", "exploratory", "check")
_OURS = ("ours", "the field")


class Claim(BaseModel):
    """What somebody says, and which figure decides it.

    Exactly one of ``above``, ``below`` and ``near`` states the claim about that figure.

    Example:
        >>> claim = Claim(id="gain", text="CSBA raises macro-F1", source="Table 7", group="grouped",
        ...               method="csba", against="baseline", metric="macro_f1", above=0, printed=0.039)
        >>> claim.threshold
        0.0
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    text: str
    source: str
    """who says so: paper with table or figure, or ``ours``"""
    figure: str | None = None
    """a figure of the analysis, in place of group, method and metric"""
    group: str | None = None
    method: str | None = None
    against: str | None = None
    """the difference to this method is meant"""
    against_group: str | None = None
    """the group of ``against``, where it is another; units are paired by their number"""
    metric: str = "macro_f1"
    """a metric of ``compare``, or ``f1 of CLASS``, ``recall of CLASS``, ``precision of CLASS``"""
    above: float | None = None
    below: float | None = None
    near: float | None = None
    within: Annotated[float, Field(gt=0)] | None = None
    """what may lie between ``near`` and a figure that still confirms it"""
    family: str = ""
    """claims that answer one question; Holm's correction counts those of one family of a study"""
    printed: float | None = None
    """the figure that was published, in the same unit"""
    kind: Literal["published", "ours", "exploratory", "check"] | None = None
    """who stands behind it; an exploratory one was written after a look at the runs that decide it; a check
    follows from a formula or the design, and says that the measuring works; null goes by ``source``"""
    front: bool = False
    """told at the top of the page of evidence, whatever the verdict"""

    @model_validator(mode="after")
    def _one_statement(self) -> Self:
        if sum(x is not None for x in (self.above, self.below, self.near)) != 1:
            raise ValueError(f"claim {self.id!r} must have exactly one of above, below and near")
        if (self.near is None) != (self.within is None):
            raise ValueError(f"claim {self.id!r}: near and within go together")
        if (self.figure is None) == (self.group is None or self.method is None):
            raise ValueError(f"claim {self.id!r} must have either figure, or group and method")
        if self.against_group is not None and self.against is None:
            raise ValueError(f"claim {self.id!r} must have against beside against_group")
        return self

    @property
    def threshold(self) -> float:
        """What the figure is held against."""
        return float(next(x for x in (self.above, self.below, self.near) if x is not None))


def kind_of(claim: Mapping[str, Any]) -> str:
    """``published``, ``ours``, ``exploratory`` or ``check``: as the claim says, else by its source.

    Ours is also what is common knowledge ("the field").

    Args:
        claim: as a record holds it.

    Example:
        >>> kind_of({"source": "ours, from the ledger"}), kind_of({"source": "arXiv 2606.05740, Table 7"})
        ('ours', 'published')
    """
    by_source = "ours" if str(claim["source"]).startswith(_OURS) else "published"
    return str(claim.get("kind") or by_source)


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of a claim.

    Args:
        word: ``confirmed``, ``not confirmed`` or ``cannot be told``.
        why: one sentence with the figures.
        p: two-sided p value, after Holm's correction over the claims of its family; None for ``near``.

    Example:
        >>> Verdict("confirmed", "because").p is None
        True
    """

    word: str
    why: str
    p: float | None = None


def judge(claims: Sequence[Claim], figures: Mapping[str, Figure]) -> dict[str, Verdict]:
    """A verdict on every claim of a study.

    ``above`` and ``below``: confirmed where the figure lies on that side with p < 0.05 after Holm's
    correction over all such claims of its family in the study, those that wait to be run included. Not
    confirmed where it lies on the other side by the same standard, or where it falls short of what was
    printed by the same standard, corrected over the printed figures of the family, and its 95 % interval
    does not lie on the claimed side.
    ``near``: confirmed where the whole interval lies within the tolerance, not confirmed where none of
    it does. Anything else cannot be told with these data.

    Args:
        claims: of one study.
        figures: the figure of every claim by its id; a claim without one cannot be told.

    Example:
        >>> claim = Claim(id="gain", text="a is better", source="ours", figure="gain", above=0)
        >>> judge([claim], {"gain": Figure.over([0.02, 0.03, 0.04])})["gain"].word
        'confirmed'
    """
    thresholds: dict[str, float | None] = {}
    printed: dict[str, float | None] = {}
    for family in {claim.family for claim in claims}:
        sided = [claim for claim in claims if claim.near is None and claim.family == family]
        thresholds |= _corrected({claim.id: claim.threshold for claim in sided}, figures)
        known = {claim.id: claim.printed for claim in sided if claim.printed is not None}
        printed |= _corrected(known, figures)
    return {
        claim.id: _verdict(claim, figures.get(claim.id), thresholds.get(claim.id), printed.get(claim.id))
        for claim in claims
    }


def _corrected(against: Mapping[str, float], figures: Mapping[str, Figure]) -> dict[str, float | None]:
    """P values of figures being what they are held against, after Holm; None without a figure."""
    raw = [figures[name].p(value) if name in figures else None for name, value in against.items()]
    # What waits to be run is a test too: no verdict may fall when it is there.
    after = holm([1.0 if p is None else p for p in raw])
    return {name: None if p is None else q for name, p, q in zip(against, raw, after, strict=True)}


def _verdict(claim: Claim, figure: Figure | None, p: float | None, p_printed: float | None) -> Verdict:
    if figure is None:
        return Verdict(UNKNOWN, "not measured yet")
    if figure.mean.low is None or figure.mean.high is None:
        why = f"{figure.mean.value:.4g} without an interval ({figure.mean.how or 'one value'})"
        return Verdict(UNKNOWN, why)
    word = _near(claim, figure) if claim.near is not None else _sided(claim, figure, p, p_printed)
    return Verdict(word, _why(claim, figure), p)


def _near(claim: Claim, figure: Figure) -> str:
    low, high = _ends(figure)
    least, most = claim.threshold - float(claim.within or 0), claim.threshold + float(claim.within or 0)
    if least <= low and high <= most:
        return CONFIRMED
    return NOT_CONFIRMED if high < least or low > most else UNKNOWN


def _sided(claim: Claim, figure: Figure, p: float | None, p_printed: float | None) -> str:
    upwards = claim.above is not None
    if p is not None and p < _LEVEL:
        return CONFIRMED if (figure.mean.value > claim.threshold) == upwards else NOT_CONFIRMED
    low, high = _ends(figure)
    # With the correction alone in its way the claimed side is not refuted by a smaller effect than printed.
    if claim.printed is None or (low > claim.threshold if upwards else high < claim.threshold):
        return UNKNOWN
    short = figure.mean.value < claim.printed if upwards else figure.mean.value > claim.printed
    return NOT_CONFIRMED if short and p_printed is not None and p_printed < _LEVEL else UNKNOWN


def _ends(figure: Figure) -> tuple[float, float]:
    return float(figure.mean.low or 0.0), float(figure.mean.high or 0.0)


def _why(claim: Claim, figure: Figure) -> str:
    low, high = _ends(figure)
    measured = f"measured {figure.mean.value:.4g} [{low:.4g}, {high:.4g}]"
    printed = "" if claim.printed is None else f", printed {claim.printed:.4g}"
    if claim.near is not None:
        return f"{measured}, wanted {claim.near:.4g} within {claim.within:.4g}{printed}"
    side = "above" if claim.above is not None else "below"
    return f"{measured}, claimed {side} {claim.threshold:.4g}{printed}"
