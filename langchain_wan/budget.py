"""What images cost, and how much may be spent: checked and held before a call, settled after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, Self

from langchain_wan._ledger import NANO, Limit, default_counter
from langchain_wan.errors import BudgetExceededError, InvalidImageRequestError

# Source: https://aisa.one/docs/guides/pricing/ai-model-pricing-llm-inference, read on PRICES_AS_OF; equal to
# Alibaba's international list price. Failed images are free upstream.
PRICES_AS_OF = date(2026, 4, 22)
PRICES_USD: Mapping[str, Decimal] = {"wan2.7-image": Decimal("0.030"), "wan2.7-image-pro": Decimal("0.075")}

# Other families that AIsa serves on other routes; the same pages.
OTHER_ROUTES = {
    "gemini": "Gemini image models use POST /v1beta/models/{model}:generateContent",
    "nano-banana": "Gemini image models use POST /v1beta/models/{model}:generateContent",
    "seedream": "Seedream models use POST /v1/images/generations",
    "doubao-seedream": "Seedream models use POST /v1/images/generations",
}


def price_usd(model: str, n: int = 1, *, prices: Mapping[str, Decimal] | None = None) -> Decimal:
    """Return what `n` images cost, in dollars: for estimates and approval rules.

    >>> price_usd("wan2.7-image", 3)
    Decimal('0.090')

    Args:
        model: The model's name.
        n: How many images.
        prices: Dollars an image by model, over the built-in table.

    Raises:
        InvalidImageRequestError: The price of the model is not known.
    """
    price = {**PRICES_USD, **(prices or {})}.get(model)
    if price is None:
        raise _unknown_price(model)
    return price * n


def _unknown_price(model: str) -> InvalidImageRequestError:
    shown = "".join(char for char in model if char.isprintable())[:60]
    route = next((text for mark, text in OTHER_ROUTES.items() if mark in model.lower()), None)
    known = ", ".join(PRICES_USD)
    if route is not None:
        return InvalidImageRequestError(
            f"{shown!r} is not a Wan model: {route}, which this package does not call.",
            next_step=f"Use one of {known}.",
            advice=f"This tool makes images with {known} only.",
        )
    return InvalidImageRequestError(
        f"The price of model {shown!r} is not known, so no budget can hold for it.",
        next_step=f"Use one of {known}, or pass its price: prices={{{shown!r}: Decimal(...)}}.",
        advice=f"Use one of these models: {known}.",
    )


# Billionths of a dollar spent and held under a named budget, and images.
Counter = Callable[[Limit], tuple[int, int, int]]


@dataclass(frozen=True)
class Hold:
    """Money and images reserved for one call that is under way."""

    usd: Decimal
    images: int


class Budget:
    """A limit in money and images, checked before each call and exact under concurrency.

    What a call may cost at most is held before it is sent, and settled to what was made afterwards. A call whose
    outcome is unknown keeps its hold.

    Args:
        max_usd: Dollars; None means no limit in money.
        max_images: None means no limit in images.
        name: None means this object counts, for as long as it lives, wherever it is passed. A named budget is
            counted in the store of the tool or generator that uses it, across processes and restarts.
        window: Only what was spent within it counts, for named budgets; None means all.

    Raises:
        ValueError: No limit, a negative one, or a window without a name.
    """

    def __init__(
        self,
        max_usd: Decimal | float | str | None = None,
        max_images: int | None = None,
        name: str | None = None,
        window: timedelta | None = None,
    ) -> None:
        if max_usd is None and max_images is None:
            raise ValueError("a budget needs max_usd, max_images or both")
        try:
            self.max_usd = None if max_usd is None else Decimal(str(max_usd))
        except InvalidOperation:
            raise ValueError("max_usd has to be a number of dollars") from None
        if self.max_usd is not None and (not self.max_usd.is_finite() or self.max_usd < 0):
            raise ValueError("max_usd has to be a finite number of at least 0")
        if max_images is not None and (type(max_images) is not int or max_images < 0):
            raise ValueError("max_images has to be a whole number of at least 0")
        if window is not None and (name is None or window <= timedelta(0)):
            raise ValueError("a window has to be positive, and needs a named budget, which outlives this process")
        self.max_images = max_images
        self.name = name
        self.window = window
        self._lock = threading.Lock()
        self._counter: Counter | None = None
        self._spent = Decimal(0)
        self._held = Decimal(0)
        self._images = 0

    @property
    def spent_usd(self) -> Decimal:
        """Dollars charged."""
        return self._counted()[0]

    @property
    def held_usd(self) -> Decimal:
        """Dollars held for calls under way, and for calls whose outcome is unknown."""
        return self._counted()[1]

    @property
    def remaining_usd(self) -> Decimal | None:
        """Dollars that may still be spent, never negative; None without a limit in money."""
        spent, held = self._counted()
        return None if self.max_usd is None else max(Decimal(0), self.max_usd - spent - held)

    def limit(self) -> Limit | None:
        """Return a named budget as a ledger checks it; None for an unnamed one, which counts for itself."""
        if self.name is None:
            return None
        nano = None if self.max_usd is None else int(self.max_usd * NANO)
        return Limit(self.name, nano, self.max_images, None if self.window is None else self.window.total_seconds())

    def count_in(self, counter: Counter) -> None:
        """Read a named budget from here on in the ledger of whoever uses it."""
        self._counter = counter

    def _counted(self) -> tuple[Decimal, Decimal]:
        limit = self.limit()
        if limit is None:
            with self._lock:
                return self._spent, self._held
        counter = self._counter or default_counter()
        spent, held, _ = counter(limit)
        return Decimal(spent) / NANO, Decimal(held) / NANO

    def reserve(self, usd: Decimal, images: int) -> Hold:
        """Hold what a call may cost at most.

        Raises:
            BudgetExceededError: It does not fit.
        """
        with self._lock:
            money_fits = self.max_usd is None or self._spent + self._held + usd <= self.max_usd
            if not money_fits or (self.max_images is not None and self._images + images > self.max_images):
                raise over_budget(usd)
            self._held += usd
            self._images += images
        return Hold(usd, images)

    def settle(self, hold: Hold, usd: Decimal, images: int) -> None:
        """Replace a hold by what was charged, even where that is more."""
        with self._lock:
            self._held -= hold.usd
            self._spent += usd
            self._images += images - hold.images

    def release(self, hold: Hold) -> None:
        """Give a hold back: the call certainly did no work."""
        self.settle(hold, Decimal(0), 0)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: a copy would count for itself, and so not limit anything."""
        return self

    __copy__ = lambda self: self  # noqa: E731  the same, for `copy.copy`

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Budget counts in this process and can't be pickled; build it where it is used")

    def __repr__(self) -> str:
        limits = [f"{name}={getattr(self, name)!r}" for name in ("max_usd", "max_images", "name", "window")]
        return f"Budget({', '.join(text for text in limits if not text.endswith('=None'))})"


def over_budget(usd: Decimal) -> BudgetExceededError:
    """Return the error of a call that does not fit; its advice names no figures that a model could play with."""
    return BudgetExceededError(
        f"The budget does not allow this call, which may cost ${usd}.",
        next_step="Raise the budget, or ask for fewer images.",
    )
