"""Whether printed numbers of parameters agree with what is said to have been added."""

from decimal import Decimal

from tailgrad.checks import InputError, in_range
from tailgrad.evaluate.finding import CONSISTENT, IMPOSSIBLE, Finding


def parameters_follow(
    before: str,
    after: str,
    *,
    added: int | None = None,
    increase: str | None = None,
    unit: int = 1_000_000,
) -> list[Finding]:
    """Whether two printed totals leave room for the parameters added and for the increase in per cent.

    Every figure may be rounded or truncated, so a total of 1.35 is from 1.345 to 1.36.

    Args:
        before: printed total of the first network, as text so that zeros count, as in ``1.35``.
        after: printed total of the second one.
        added: parameters that are said to have been added.
        increase: printed increase in per cent.
        unit: parameters in one unit of the totals.

    Returns:
        A finding for each of ``added`` and ``increase`` that is given.

    Raises:
        InputError: a total that is not positive, or no number.

    Example:
        >>> print(parameters_follow("1.35", "1.37", added=3)[0])
        impossible: parameters added: 3 are stated; from 1.35 to 1.37 it is 5,000 to 35,000.
    """
    ends = [_ends("before", before, positive=True), _ends("after", after, positive=True)]
    (low, high), (low_after, high_after) = ends
    found = []
    if added is not None:
        least, most = round((low_after - high) * unit), round((high_after - low) * unit)
        sentence = f"{added:,} are stated; from {before} to {after} it is {least:,} to {most:,}."
        numbers = {"added": added, "lowest": least, "highest": most}
        verdict = CONSISTENT if least <= added <= most else IMPOSSIBLE
        found.append(Finding("parameters added", verdict, sentence, "", numbers))
    if increase is not None:
        shares = [100 * (after_end / end - 1) for after_end, end in ((low_after, high), (high_after, low))]
        printed = _ends("increase", increase)
        sentence = (
            f"{increase} % is stated; from {before} to {after} it is {shares[0]:.1f} to {shares[1]:.1f} %."
        )
        verdict = CONSISTENT if printed[0] <= shares[1] and shares[0] <= printed[1] else IMPOSSIBLE
        span = {"lowest": float(shares[0]), "highest": float(shares[1])}
        found.append(Finding("increase", verdict, sentence, "", {"printed": float(increase), **span}))
    return found


def _ends(what: str, text: str, *, positive: bool = False) -> tuple[Decimal, Decimal]:
    """The values that print as ``text``, rounded or truncated."""
    try:
        figure = Decimal(text)
    except ArithmeticError as error:
        raise InputError(f"{what} must be a number, got {text[:40]!r}; write it as it is printed") from error
    in_range(what, float(figure), 0, 10**12, exclusive=positive)
    unit = Decimal(1).scaleb(int(figure.as_tuple().exponent))
    return figure - unit / 2, figure + unit
