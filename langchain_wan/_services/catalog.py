"""Models as dated data: the prices of the Wan models, and the routes of other families."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from langchain_wan._storage.money import EXACT
from langchain_wan.errors import InvalidImageRequestError, WanConfigurationError

# Source: https://aisa.one/docs/guides/pricing/ai-model-pricing-llm-inference, read on PRICES_AS_OF; equal to
# Alibaba's international list price. Failed images are free upstream.
PRICES_AS_OF = date(2026, 4, 22)
PRICES_USD: Mapping[str, Decimal] = {"wan2.7-image": Decimal("0.030"), "wan2.7-image-pro": Decimal("0.075")}

# Other families, which AIsa serves on other routes. Same source.
OTHER_ROUTES = {
    "gemini": "Gemini image models use POST /v1beta/models/{model}:generateContent",
    "nano-banana": "Gemini image models use POST /v1beta/models/{model}:generateContent",
    "seedream": "Seedream models use POST /v1/images/generations",
    "doubao-seedream": "Seedream models use POST /v1/images/generations",
}


def price_usd(model: str, n: int = 1, *, prices: Mapping[str, Decimal] | None = None) -> Decimal:
    """Return the price of `n` images in dollars, for estimates and approval rules.

    >>> price_usd("wan2.7-image", 3)
    Decimal('0.090')

    Args:
        model: The model's name.
        n: How many images.
        prices: Dollars per image for each model; these replace the built-in prices.

    Raises:
        InvalidImageRequestError: The price of the model is not known.
    """
    price = {**PRICES_USD, **(prices or {})}.get(model)
    if price is None:
        raise _unknown_price(model)
    return EXACT.multiply(price, Decimal(n))


def check_models(models: Iterable[str], prices: Mapping[str, Decimal]) -> None:
    """Refuse models whose price is not known.

    Raises:
        WanConfigurationError: A model has neither a built-in price nor one in `prices`.
    """
    for model in models:
        if model not in PRICES_USD and model not in prices:
            error = _unknown_price(model)
            raise WanConfigurationError(f"{error.what} {error.next_step}")


def _unknown_price(model: str) -> InvalidImageRequestError:
    name = model[:60]
    route = next((text for family, text in OTHER_ROUTES.items() if family in model.lower()), None)
    known = ", ".join(PRICES_USD)
    near = difflib.get_close_matches(model.lower(), PRICES_USD, n=1, cutoff=0.7)
    if route is not None:
        return InvalidImageRequestError(
            f"{name!r} is not a Wan model: {route}, which this package does not call.",
            next_step=f"Use one of {known}.",
            advice=f"This tool makes images with {known} only.",
        )
    return InvalidImageRequestError(
        f"The model {name!r} is not known, and neither is its price.{f' Did you mean {near[0]!r}?' if near else ''}",
        next_step=f"Use one of {known}, or pass its price: prices={{{name!r}: Decimal('0.03')}}, in dollars an image.",
        advice=f"Use one of these models: {known}.",
    )
