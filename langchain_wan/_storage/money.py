"""Money in whole billionths of a dollar, so that sums in SQL are exact; and arithmetic that no caller can change."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

NANO = 10**9

# The context of the calling thread may round to two digits, or raise where a result is inexact.
EXACT = Context(prec=60, traps=[DivisionByZero, InvalidOperation, Overflow])


def to_usd(nano: int) -> Decimal:
    """Return billionths of a dollar as dollars, with at least the two usual places."""
    amount = EXACT.divide(Decimal(nano), Decimal(NANO))
    if nano % 10**6 == 0:
        return EXACT.quantize(amount, Decimal("0.001"))
    return EXACT.normalize(amount)


def to_nano(amount: Decimal) -> int:
    """Return dollars as billionths of a dollar, rounded up."""
    return int(EXACT.multiply(amount, Decimal(NANO)).to_integral_value(ROUND_CEILING, EXACT))


def floor_nano(amount: Decimal) -> int:
    """Return dollars as billionths of a dollar, rounded down, as a limit is."""
    return int(EXACT.multiply(amount, Decimal(NANO)).to_integral_value(ROUND_FLOOR, EXACT))


def per_image(cost: Decimal, images: int) -> Decimal:
    """Return what each image of a call cost, delivered or not."""
    return to_usd(to_nano(cost) // max(1, images))
