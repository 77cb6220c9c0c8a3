"""Claims that were altered once there was a figure to look at."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tailgrad.evidence.claim import Claim
from tailgrad.evidence.record import planned_record

_WORDS_AND_RESULTS = {"text", "source", "kind", "front", "found", "verdict", "why", "p_holm"}


def changed_claims(before: Mapping[str, Any], claims: Sequence[Claim]) -> list[str]:
    """Names of claims whose rule changed, or that went, after they had a figure; once changed, always so.

    Args:
        before: an earlier ``evidence.json``, or nothing.
        claims: those of now.

    Example:
        >>> claim = Claim(id="gain", text="a helps", source="ours", figure="a", above=0)
        >>> record = planned_record(claim) | {"found": {"value": 0.2}}
        >>> changed_claims({"claims": [record]}, [claim.model_copy(update={"above": 0.1})])
        ['gain']
    """
    now = {claim.id: rule_of(planned_record(claim)) for claim in claims}
    measured = [one for one in before.get("claims", ()) if one.get("found") is not None]
    changed = {one["id"] for one in measured if now.get(one["id"]) != rule_of(one)}
    return sorted(changed | set(before.get("changed_claims", ())))


def rule_of(record: Mapping[str, Any]) -> Any:
    """What decides about a claim, as a file holds it: all but words, place and results.

    Example:
        >>> rule_of({"id": "gain", "text": "it helps", "above": 0, "verdict": "confirmed"})
        {'id': 'gain', 'above': 0}
    """
    kept = {key: value for key, value in record.items() if key not in _WORDS_AND_RESULTS}
    return json.loads(json.dumps(kept))
