"""A committed record in the words that its study has today."""

from collections.abc import Mapping
from typing import Any

from tailgrad.evidence.changed_claims import rule_of
from tailgrad.evidence.claim import Claim
from tailgrad.evidence.record import planned_record
from tailgrad.evidence.study_file import StudyFile

_OF_CLAIMS = ("text", "source", "kind", "front")


def with_present_words(content: Mapping[str, Any], study: StudyFile | None) -> dict[str, Any]:
    """The record with texts, sources, kinds, places, question, paper and notes as the file has them.

    What decides is never touched: a claim whose rule is another one today keeps the words it was judged
    with, and so do question, paper and notes then.

    Args:
        content: of an ``evidence.json``.
        study: as it is written today; None leaves everything as it was.

    Example:
        >>> claim = Claim(id="gain", text="a helps", source="ours", figure="a", above=0)
        >>> record = {"claims": [planned_record(claim)], "question": "", "notes": "before"}
        >>> plan = StudyFile(name="mine", data={}, analysis="x", notes="after", claims=(
        ...     claim.model_copy(update={"text": "a does help"}),))
        >>> told = with_present_words(record, plan)
        >>> told["claims"][0]["text"], told["notes"]
        ('a does help', 'after')
    """
    if study is None:
        return dict(content)
    now = {claim.id: claim for claim in study.claims}
    claims = [_worded(claim, now.get(claim["id"])) for claim in content["claims"]]
    if any(found is None for found in claims):
        both = zip(content["claims"], claims, strict=True)
        return {**content, "claims": [before if found is None else found for before, found in both]}
    about = {"question": study.question, "paper": study.paper, "notes": study.notes}
    return {**content, "claims": claims, **about}


def _worded(record: Mapping[str, Any], claim: Claim | None) -> dict[str, Any] | None:
    """The record in the words of the claim; None where that is gone or says another thing."""
    planned = None if claim is None else planned_record(claim)
    if planned is None or rule_of(planned) != rule_of(record):
        return None
    kept = {key: value for key, value in record.items() if key not in _OF_CLAIMS}
    return kept | {key: planned[key] for key in _OF_CLAIMS if key in planned}
