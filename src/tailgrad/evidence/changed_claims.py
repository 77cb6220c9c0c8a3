"""Claims that were altered once there was a figure to look at."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tailgrad.evidence.claim import UNKNOWN, Claim, Verdict
from tailgrad.evidence.record import claim_record

_WORDS_AND_RESULTS = {"text", "source", "found", "verdict", "why", "p_holm"}


def changed_claims(before: Mapping[str, Any], claims: Sequence[Claim]) -> list[str]:
    """Names of claims whose rule changed, or that went, after they had a figure; once changed, always so.

    Args:
        before: an earlier ``evidence.json``, or nothing.
        claims: those of now.

    Example:
        >>> claim = Claim(id="gain", text="a helps", source="ours", figure="a", above=0)
        >>> record = claim_record(claim, Verdict("confirmed", ""), None) | {"found": {"value": 0.2}}
        >>> changed_claims({"claims": [record]}, [claim.model_copy(update={"above": 0.1})])
        ['gain']
    """
    now = {claim.id: _rule(claim_record(claim, Verdict(UNKNOWN, ""), None)) for claim in claims}
    measured = [one for one in before.get("claims", ()) if one.get("found") is not None]
    changed = {one["id"] for one in measured if now.get(one["id"]) != _rule(one)}
    return sorted(changed | set(before.get("changed_claims", ())))


def _rule(record: Mapping[str, Any]) -> Any:
    """What decides about a claim, as a file holds it."""
    kept = {key: value for key, value in record.items() if key not in _WORDS_AND_RESULTS}
    return json.loads(json.dumps(kept))
