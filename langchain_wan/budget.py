"""How much may be spent: reserved before a call, settled after it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, NoReturn, Self

import langchain_wan
from langchain_wan._concurrency.forks import current_process
from langchain_wan._services.catalog import price_usd
from langchain_wan._storage.ledger import Ledger
from langchain_wan._storage.money import EXACT, floor_nano, to_nano, to_usd
from langchain_wan._storage.operations import Limit
from langchain_wan._text.amounts import format_usd
from langchain_wan.errors import BudgetExceededError, WanConfigurationError

__all__ = ["Budget", "Reservation", "price_usd"]


class Counted(NamedTuple):
    """What a budget has counted: dollars spent and reserved, and images of both."""

    spent: Decimal
    reserved: Decimal
    images: int


# What a ledger counts fits into 64 bits.
MOST_USD, MOST_IMAGES = 1_000_000_000, 2**63 - 1


@dataclass(frozen=True)
class Reservation:
    """Money and images reserved for one call that is under way."""

    usd: Decimal
    images: int


class Budget:
    """A limit in money and images, checked before each call and exact under concurrency.

    What a call may cost at most is reserved before it is sent, and settled to what was made afterwards. A call whose
    outcome is unknown keeps its reservation.

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
            raise ValueError("max_usd must be a number of dollars") from None
        if self.max_usd is not None and (not self.max_usd.is_finite() or self.max_usd < 0):
            raise ValueError("max_usd must be a finite number of at least 0")
        if self.max_usd is not None and self.max_usd > MOST_USD:
            raise ValueError(f"max_usd must be at most {MOST_USD}")
        if max_images is not None and (type(max_images) is not int or not 0 <= max_images <= MOST_IMAGES):
            raise ValueError(f"max_images must be a whole number from 0 to {MOST_IMAGES}")
        if window is not None and (name is None or window <= timedelta(0)):
            raise ValueError("a window must be positive, and needs a named budget, which outlives this process")
        self._max_nano = None if self.max_usd is None else floor_nano(self.max_usd)
        self.max_images = max_images
        self.name = name
        self.window = window
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._service: str | None = None
        self._process = current_process()
        self._spent = 0  # billionths of a dollar
        self._reserved = 0
        self._images = 0

    @property
    def spent_usd(self) -> Decimal:
        """Dollars charged."""
        return self._count().spent

    @property
    def held_usd(self) -> Decimal:
        """Dollars reserved for calls under way, and for calls whose outcome is unknown."""
        return self._count().reserved

    @property
    def remaining_usd(self) -> Decimal | None:
        """Dollars that may still be spent, never negative; None without a limit in money."""
        return None if self.max_usd is None else _find_left(self.max_usd, self._count())

    def limit(self) -> Limit | None:
        """Return a named budget as a ledger checks it; None for an unnamed one, which counts for itself."""
        if self.name is None:
            return None
        window = None if self.window is None else self.window.total_seconds()
        return Limit(self.name, self._max_nano, self.max_images, window)

    def count_in(self, ledger: Ledger, service: str) -> None:
        """Count a named budget in the ledger of the store that it is used with, as spent at a service.

        Raises:
            WanConfigurationError: It is counted in another store, so that neither would know the whole; or in the
                memory of the process that this one was forked from.
        """
        if ledger.is_inherited:
            raise WanConfigurationError(
                f"The budget {self.name!r} is counted in memory, and a forked process would count its own. "
                "Use a WanStore(folder), or build the store in the process that uses it."
            )
        if self._ledger is not None and not self._ledger.is_same(ledger):
            raise WanConfigurationError(
                f"The budget {self.name!r} is used with two stores, and would allow its whole amount in each of them. "
                "Use one store, or a Budget of its own for each."
            )
        self._ledger, self._service = ledger, service

    def build_refusal(self, usd: Decimal, images: int) -> BudgetExceededError:
        """Return the error of a call that does not fit."""
        return _build_refusal(self, usd, images, self._count())

    def _count(self) -> Counted:
        limit = self.limit()
        if limit is None:
            with self._lock:
                return self._count_here()
        ledger = self._ledger or langchain_wan.WanStore.default()._storage.ledger
        spent, reserved, images = ledger.read_spending(limit, self._service)
        return Counted(to_usd(spent), to_usd(reserved), images)

    def _count_here(self) -> Counted:
        return Counted(to_usd(self._spent), to_usd(self._reserved), self._images)

    def reserve(self, usd: Decimal, images: int) -> Reservation:
        """Reservation what a call may cost at most.

        Raises:
            BudgetExceededError: It does not fit.
            WanConfigurationError: It was made in the process that this one was forked from.
        """
        if self._process is not current_process():
            raise WanConfigurationError(
                "An unnamed Budget counts in the process that made it, and each forked process would spend its whole "
                "amount. Give it a name and a WanStore(folder), or make it in the process that uses it."
            )
        nano = to_nano(usd)
        with self._lock:
            money_fits = self._max_nano is None or self._spent + self._reserved + nano <= self._max_nano
            if not money_fits or (self.max_images is not None and self._images + images > self.max_images):
                raise _build_refusal(self, usd, images, self._count_here())
            self._reserved += nano
            self._images += images
        return Reservation(usd, images)

    def settle(self, reservation: Reservation, usd: Decimal, images: int) -> None:
        """Replace a reservation by what was charged, even where that is more."""
        with self._lock:
            self._reserved -= to_nano(reservation.usd)
            self._spent += to_nano(usd)
            self._images += images - reservation.images

    def release(self, reservation: Reservation) -> None:
        """Release a reservation: the call certainly did no work."""
        self.settle(reservation, Decimal(0), 0)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: a copy would count for itself, and so not limit anything."""
        return self

    __copy__ = lambda self: self  # noqa: E731  the same, for `copy.copy`

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Budget counts in this process and can't be pickled; build it where it is used")

    def __repr__(self) -> str:
        limits = [f"{name}={getattr(self, name)!r}" for name in ("max_usd", "max_images", "name", "window")]
        return f"Budget({', '.join(text for text in limits if not text.endswith('=None'))})"


def _build_refusal(budget: Budget, usd: Decimal, images: int, counted: Counted) -> BudgetExceededError:
    """Return the error of a call that does not fit: what is left, and how many images would still fit."""
    asks, fits = [], [images]
    if budget.max_usd is not None:
        left = _find_left(budget.max_usd, counted)
        fits.append(images if usd == 0 else to_nano(left) * images // to_nano(usd))
        limit, spent, reserved, rest = map(format_usd, (budget.max_usd, counted.spent, counted.reserved, left))
        asks.append(f"may cost {format_usd(usd)} (limit {limit}: {spent} spent, {reserved} reserved, {rest} left)")
    if budget.max_images is not None:
        left_images = max(0, budget.max_images - counted.images)
        fits.append(left_images)
        state = f"limit {budget.max_images}: {counted.images} made or reserved, {left_images} left"
        asks.append(f"makes {_count(images)} ({state})")
    name = "" if budget.name is None else f" {budget.name!r}"
    count = min(fits)
    return BudgetExceededError(
        f"The budget{name} does not allow this call, which {' and '.join(asks)}.",
        next_step=f"Raise the budget, or ask for at most {_count(count)}." if count else "Raise the budget.",
        advice=_advise(count),
    )


def _find_left(max_usd: Decimal, counted: Counted) -> Decimal:
    return max(Decimal(0), EXACT.subtract(EXACT.subtract(max_usd, counted.spent), counted.reserved))


def _advise(count: int) -> str:
    if not count:
        return "The image budget does not allow another image. Tell the user; do not call again."
    more = "1 more image" if count == 1 else f"{count} more images"
    return f"The image budget allows {more}. Call again with n={count}, or tell the user."


def _count(images: int) -> str:
    return f"{images} image{'' if images == 1 else 's'}"
