"""Who paid for what: the operations and named budgets of a store.

An operation is one paid call; `states.py` says how it goes from one state to the next. A claim and the reservation in
its budget are written in one transaction before the request is sent.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_wan._storage import operation_table as table
from langchain_wan._storage import spending
from langchain_wan._storage.operations import Claim, ClaimResult, Limit, Operation
from langchain_wan._storage.owners import Owner, find_owner
from langchain_wan._storage.sqlite import Database
from langchain_wan._storage.states import (
    RESUMABLE_STATES,
    RUNNING_STATES,
    State,
)
from langchain_wan._storage.verification import Verification
from langchain_wan._text.logs import logger
from langchain_wan.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


class Ledger:
    """The operations and named budgets of a database; `lock_file` is None for memory."""

    def __init__(self, database: Database, lock_file: Path | None) -> None:
        self._database, self._lock_file = database, lock_file
        self._verification = Verification(database)

    @cached_property
    def _owner(self) -> Owner:  # looked up when it is needed: that asks the file system
        return find_owner(self._lock_file)

    def is_same(self, other: Ledger) -> bool:
        """Say whether another object is the same ledger: two stores may be opened on one folder."""
        return self is other or (self._database.path is not None and self._database.path == other._database.path)

    @property
    def is_inherited(self) -> bool:
        """Whether it is in memory and a copy of what the parent of this process has."""
        return self._database.is_inherited

    def is_running(self, operation: Operation) -> bool:
        """Say whether somebody is carrying out an operation: a call of this process, or another living process.

        Raises:
            StoreError: The store's locks can't be read.
        """
        if operation.state not in RUNNING_STATES:
            return False
        try:
            return self._owner.is_running((operation.service, operation.id))
        except OSError as error:
            raise _build_lock_error(error) from error

    def mark_idle(self, service: str, operation_id: str) -> None:
        """Note that this process does not carry out an operation any more."""
        with suppress(OSError):  # what can't be freed is free when the process ends
            self._owner.end((service, operation_id))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements as one write, after what an earlier transaction of this process could not write.

        Raises:
            StoreError: As for `Database.transaction`.
        """
        with self._database.transaction() as connection:
            late = list(self._owner.unwritten)
            for change in late:
                try:
                    change(connection)
                except StoreError as error:  # the row is damaged: it must not keep others from being written
                    logger.error("what became of a call could not be written down: %s", error)  # noqa: TRY400  its trace says no more
            yield connection
        for change in late:
            with suppress(ValueError):  # another thread was faster
                self._owner.unwritten.remove(change)

    def claim(self, claim: Claim) -> ClaimResult:
        """Take an operation and reserve its money, in one transaction; or say who has it.

        Raises:
            StoreError: The ledger can't be used, or a row is damaged that may be about this very call.
        """
        self._verification.run()
        key = claim.service, claim.id
        with ExitStack() as undo, self.transaction() as connection:
            existing = table.read(connection, *key)
            if existing is not None and existing.state != "refused":
                if existing.state != "claimed" or self.is_running(existing):
                    return ClaimResult("taken", existing)
                table.release(connection, existing)  # its process died before it sent anything
            identical = None if claim.named_by_caller else self._find_identical(connection, claim)
            if identical is not None:
                return ClaimResult("identical", identical)
            if claim.limit is not None and not self._fits(connection, claim, claim.limit):
                return ClaimResult("over_budget")
            now = time.time()
            operation = _build_operation(claim, self._owner.name, now)
            if not self._start(key, undo):
                return ClaimResult("taken", operation)
            table.write(connection, operation)
            if claim.limit is not None:
                # An earlier, refused try may have a reservation under another budget.
                spending.release(connection, *key)
                spending.reserve(connection, claim, claim.limit, now)
        return ClaimResult("claimed")

    def _start(self, operation: tuple[str, str], undo: ExitStack) -> bool:
        """Note that this process carries out an operation, until what is written of it fails to be committed."""

        def end_after_failure(error_type: object, *_: object) -> None:
            if error_type is not None:
                self.mark_idle(*operation)

        undo.push(end_after_failure)
        return self._owner.start(operation)

    def _find_identical(self, connection: sqlite3.Connection, claim: Claim) -> Operation | None:
        # A newer human message (another turn) lifts the guard: somebody asked again. Where nobody can tell, nobody
        # did. Identical calls that a living process is carrying out do not count: two images may be wanted.
        operations = table.find_identical(connection, claim)
        ended = (operation for operation in operations if not self.is_running(operation))
        return next((operation for operation in ended if claim.is_repeat_of(operation)), None)

    def _fits(self, connection: sqlite3.Connection, claim: Claim, limit: Limit) -> bool:
        if spending.fits(connection, claim, limit):
            return True
        # What processes reserved that died before they sent anything is free again.
        for operation in table.find_claimed(connection, claim.service, limit.name):
            if not self.is_running(operation):
                table.release(connection, operation)
        return spending.fits(connection, claim, limit)

    def begin_sending(self, service: str, operation_id: str) -> None:
        """Write down, right before the request is sent, that it may be on its way.

        Raises:
            StoreError: It could not be written, or another process has taken the operation: nothing may be sent.
        """
        self._switch(service, operation_id, "claimed", "sending")

    def cancel_sending(self, service: str, operation_id: str) -> None:
        """Write down that the request was certainly not processed, and may be sent again."""
        self._switch(service, operation_id, "sending", "claimed")

    def _switch(self, service: str, operation_id: str, expected: State, state: State) -> None:
        with self.transaction() as connection:
            operation = table.read(connection, service, operation_id)
            is_own = operation is not None and operation.owner == self._owner.name
            if operation is None or not is_own or operation.state not in {expected, state}:
                raise StoreError(
                    f"Operation {operation_id} is not this process's any more: another one has taken it.",
                    next_step="Call again: it returns the result of the other process.",
                    operation_id=operation_id,
                )
            table.update(connection, replace(operation, state=state))

    def transition(
        self,
        service: str,
        operation_id: str,
        state: State,
        *,
        cost_nano: int | None = None,
        images: int | None = None,
        error: Mapping[str, Any] | None = None,
        result: Mapping[str, Any] | None = None,
        own: bool = False,
    ) -> None:
        """Write a new state; a cost settles the reservation in a named budget, and a refusal releases it.

        Args:
            own: It is a call of this process. What can't be written is written with its next transaction, unless
                somebody else has taken the operation by then.

        Raises:
            StoreError: It could not be written now.
        """

        def change(connection: sqlite3.Connection, *, late: bool) -> None:
            operation = table.read(connection, service, operation_id)
            if operation is None or (late and not self._may_end(operation)):
                return
            new = replace(
                operation,
                state=state,
                cost_nano=operation.cost_nano if cost_nano is None else cost_nano,
                error=operation.error if error is None else dict(error),
                result=operation.result if result is None else dict(result),
            )
            table.update(connection, new)
            for image in () if result is None else result["images"]:
                table.add_maker(connection, image["id"], operation)
            if state == "refused":
                spending.release(connection, service, operation_id)
            elif cost_nano is not None:
                spending.settle(connection, service, operation_id, cost_nano, images)

        self._change(change, own=own)

    def _change(self, change: Callable[..., None], *, own: bool) -> None:
        try:
            with self.transaction() as connection:
                change(connection, late=False)
        except StoreError:
            if own:
                self._owner.unwritten.append(lambda connection: change(connection, late=True))
            raise

    def _may_end(self, operation: Operation) -> bool:
        # Others may have called it uncertain, since they found it unfinished and nobody at it.
        may_change = operation.state in RUNNING_STATES or operation.state == "uncertain"
        return may_change and operation.owner == self._owner.name

    def fail(
        self, service: str, operation_id: str, state: State, error: Mapping[str, Any], *, owner: str | None = None
    ) -> None:
        """Write down that an operation ended without an answer, unless it ended otherwise meanwhile.

        Args:
            owner: Only if it is still this owner's. None means this process's; what can't be written now is written
                with its next transaction.

        Raises:
            StoreError: It could not be written now.
        """

        def change(connection: sqlite3.Connection, *, late: bool) -> None:
            operation = table.read(connection, service, operation_id)
            if operation is None or operation.owner != (owner or self._owner.name):
                return
            if operation.state in RUNNING_STATES or (late and self._may_end(operation)):
                table.update(connection, replace(operation, state=state, error=dict(error)))
                if state == "refused":
                    spending.release(connection, service, operation_id)

        self._change(change, own=owner is None)

    def acquire_for_resume(
        self, service: str, operation_id: str, *, states: Collection[State] = RESUMABLE_STATES
    ) -> bool:
        """Become the one who fetches the images of a paid operation; False if somebody is at it, or it is done.

        Args:
            states: Those in which it may be taken. One whose outcome was unknown may be, if its answer can be read.
        """
        with ExitStack() as undo, self.transaction() as connection:
            operation = table.read(connection, service, operation_id)
            if operation is None or operation.state not in states or self.is_running(operation):
                return False
            if not self._start((service, operation_id), undo):
                return False
            table.update(connection, replace(operation, state="paid", owner=self._owner.name))
        return True

    def mark_resumable(self, service: str, operation_id: str) -> None:
        """Note that nobody is fetching the images of a paid operation any more.

        Raises:
            StoreError: It could not be written now.
        """

        def change(connection: sqlite3.Connection, *, late: bool) -> None:
            operation = table.read(connection, service, operation_id)
            is_paid = operation is not None and operation.state == "paid"
            if operation is not None and (self._may_end(operation) if late else is_paid):
                table.update(connection, replace(operation, state="partial"))

        self._change(change, own=True)

    def operation(self, service: str, operation_id: str) -> Operation | None:
        """Return an operation, or None if there is none.

        Raises:
            StoreError: Its row is damaged, or the ledger can't be read.
        """
        self._catch_up()
        with self._database.read() as connection:
            return table.read(connection, service, operation_id)

    def operations(
        self,
        *,
        states: Collection[State] = (),
        scope: str | None = None,
        operation_id: str | None = None,
        limit: int = -1,
    ) -> list[Operation]:
        """Return operations, the newest first; None means any, -1 no limit. A damaged row is logged and left out."""
        self._catch_up()
        with self._database.read() as connection:
            return list(table.find(connection, states=states, scope=scope, operation_id=operation_id, limit=limit))

    def _catch_up(self) -> None:
        if self._owner.unwritten:
            with suppress(StoreError), self.transaction():
                pass

    def maker(self, image_id: str, scope: str) -> Operation | None:
        """Return the first operation of a scope that made an image, or None; `""` means every scope."""
        with self._database.read() as connection:
            return table.find_maker(connection, image_id, scope)

    def read_spending(self, limit: Limit, service: str | None = None) -> tuple[int, int, int]:
        """Return billionths of a dollar spent and reserved under a named budget, and images of both.

        Args:
            service: None means every service.

        Raises:
            StoreError: An amount is damaged.
        """
        self._catch_up()
        with self._database.read() as connection:
            return spending.read_spending(connection, service, limit)


def _build_operation(claim: Claim, owner: str, now: float) -> Operation:
    return Operation(
        *(
            claim.service,
            claim.id,
            claim.scope,
            claim.fingerprint,
            claim.turn,
            "claimed",
            owner,
            claim.max_nano,
            0,
            now,
        ),
        request=dict(claim.request),
    )


def _build_lock_error(error: OSError) -> StoreError:
    return StoreError(f"The image store's locks could not be used: {error}.", next_step="Check the store's folder.")
