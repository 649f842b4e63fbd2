"""Money in whole billionths of a dollar, so that sums in SQL are exact."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

NANO = 10**9


def to_usd(nano: int) -> Decimal:
    """Return billionths of a dollar as dollars, with at least the two usual places."""
    amount = Decimal(nano) / NANO
    return amount.quantize(Decimal("0.001")) if amount == amount.quantize(Decimal("0.001")) else amount.normalize()


def to_nano(amount: Decimal) -> int:
    """Return dollars as billionths of a dollar, rounded up."""
    return int((amount * NANO).to_integral_value(ROUND_CEILING))


def per_image(cost: Decimal, images: int) -> Decimal:
    """Return what each image of a call cost, delivered or not."""
    return to_usd(to_nano(cost) // max(1, images))
