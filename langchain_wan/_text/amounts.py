"""Amounts of money as people read them."""

from __future__ import annotations

from decimal import Decimal


def format_usd(amount: Decimal) -> str:
    """Return dollars with two decimals, and with more only where they say something; no decimal context rounds them."""
    whole, _, decimals = f"{amount:f}".partition(".")
    return f"${whole}.{decimals.rstrip('0'):0<2}"
