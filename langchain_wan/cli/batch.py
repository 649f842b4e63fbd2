"""`langchain-wan generate --from FILE`: each line of a file is paid once, whatever becomes of file and process."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from langchain_wan._storage.ledger import Ledger
from langchain_wan._storage.operations import Operation
from langchain_wan._text.amounts import format_usd
from langchain_wan.budget import Budget
from langchain_wan.cli.calls import AbandonedError, CallResult, Calls
from langchain_wan.cli.files import explain_unwritten, save_result
from langchain_wan.cli.in_flight import print_abandoned, print_waiting
from langchain_wan.cli.output import err, out
from langchain_wan.cli.request_file import Line, RequestFileError, parse_lines, read_file
from langchain_wan.cli.sheet import write_sheet
from langchain_wan.cli.shell_advice import name_redo, name_resolve, to_shell_advice
from langchain_wan.cli.sources import build_finder
from langchain_wan.cli.unresolved import RUN_AGAIN, is_own_sandbox, print_steps_to_settle
from langchain_wan.client import WanClient
from langchain_wan.errors import PaymentUncertainError, StoreError, WanError
from langchain_wan.store import WanStore

NO_LIMIT = sys.maxsize


@dataclass(frozen=True)
class Batch:
    """A file of requests, and how it is carried out.

    Attributes:
        name: Lines of another batch are other images; None means the file's absolute path.
        fields: What the options say of each request.
        redo: Numbers of lines that are paid once more.
        limit: What all runs together may cost; None means no limit.
        arguments: The command line, to be repeated with other options.
    """

    file: Path
    name: str | None
    fields: Mapping[str, Any]
    folder: Path
    redo: Sequence[int]
    concurrency: int
    limit: Budget | None
    arguments: Sequence[str]


def generate_batch(batch: Batch, connect: Callable[[], Mapping[str, Any]]) -> None:
    """Make the images of a file, and write a contact sheet.

    Args:
        batch: The file.
        connect: Returns the settings of the service; called when the file is known to be right.
    """
    with report_problems(batch.folder):
        file = read_file(batch.file)
        lines = parse_lines(file, batch.fields, build_finder(batch.folder))
        _check_redo(batch, lines)
    name = batch.name or file.batch
    # Without a limit the money is counted too: a later run may have one.
    limits = {"max_images": NO_LIMIT} if batch.limit is None else {"max_usd": batch.limit.max_usd}
    budget = Budget(**limits, name=f"batch {name}")
    settings = {"store": WanStore(batch.folder), "budget": budget, "max_concurrency": batch.concurrency}
    client = WanClient(**{**settings, **connect()})
    service, ledger = client.endpoint().base_url, client.store._storage.ledger
    budget.count_in(ledger, service)
    run = _Run(batch, client, budget, _name_operations(lines, name, batch.redo, ledger, service))
    run.carry_out(file.title)


@contextmanager
def report_problems(folder: Path) -> Iterator[None]:
    """Print each problem of a file in a line, and end the command."""
    try:
        yield
    except RequestFileError as error:
        for problem in error.problems:
            err.print(to_shell_advice(problem, folder))
        if len(error.problems) > 1:  # whoever reads a list may think that the other lines were made
            err.print("Nothing was sent.")
        raise typer.Exit(2) from None


def _check_redo(batch: Batch, lines: Sequence[Line]) -> None:
    numbers = {line.number: line for line in lines}
    for number in batch.redo:
        if number not in numbers:
            raise RequestFileError(f"--redo {number}: there is no request on line {number}.")
        if numbers[number].request.operation_id is not None:
            raise RequestFileError(f"--redo {number}: line {number} has an operation_id; give it a new one.")


def _name_operations(
    lines: Sequence[Line], batch: str, redo: Sequence[int], ledger: Ledger, service: str
) -> list[Line]:
    """Return the lines with the ids of their operations: the same wherever a line stands, other ones in each batch."""
    named = []
    for line in lines:
        if line.request.operation_id is not None:
            named.append(line)
            continue
        attempt = 0
        while ledger.operation(service, _name_operation(batch, line, attempt + 1)) is not None:
            attempt += 1
        if line.number in redo and _is_sent(ledger.operation(service, _name_operation(batch, line, attempt))):
            attempt += 1
        request = line.request.model_copy(update={"operation_id": _name_operation(batch, line, attempt)})
        named.append(replace(line, request=request))
    return named


def _name_operation(batch: str, line: Line, attempt: int) -> str:
    text = json.dumps([batch, line.content, line.occurrence, attempt])
    return f"line-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _is_sent(operation: Operation | None) -> bool:
    """Say whether an operation was sent, so that making it sends nothing."""
    return operation is not None and operation.state not in {"refused", "claimed"}


class _Run:
    """One run of a batch."""

    def __init__(self, batch: Batch, client: WanClient, budget: Budget, lines: Sequence[Line]) -> None:
        self._batch, self._client, self._budget, self._lines = batch, client, budget, lines
        self._results: dict[int, CallResult] = {}
        self._calls = Calls(client, self._wait, costs_nothing=self._costs_nothing)

    def carry_out(self, title: str) -> None:
        """Make the calls, save the images, write the sheet and print the summary."""
        if err.is_terminal and not is_own_sandbox(self._client):  # whoever kills it can read afterwards what to do
            step = name_resolve("--all", "not-charged", self._batch.folder)
            err.print(f"If this run is killed: check the account, run {step}, then run this command again.")
        if is_own_sandbox(self._client):
            err.print("Each run has a new sandbox, which makes every line again, at no cost.")
        try:
            self._make_calls()
            self._print_errors()
        except AbandonedError as abandoned:
            self._print_errors()
            left = print_abandoned(self._client, abandoned, self._batch.folder, self._name_lines, steps_follow=True)
            self._results |= {index: CallResult(index, error=error) for index, error in left.items()}
        finally:  # what came before an error is worth a look too
            sheet = self._write_sheet(title)
        out.print(self._summarize() + (f": {sheet}" if sheet else ""))
        if not is_own_sandbox(self._client):
            uncertain = [error.operation_id or "" for error in self._find_uncertain()]
            print_steps_to_settle(uncertain, self._batch.folder, then="" if self._calls.interrupted else RUN_AGAIN)
        is_complete = len(self._results) == len(self._lines) and not self._find_errors()
        if self._calls.interrupted:
            err.print("Interrupted." if is_complete else "Interrupted. Run the same command again to make the rest.")
            raise typer.Exit(130)
        if sheet is None or not is_complete:
            raise typer.Exit(1)

    def _make_calls(self) -> None:
        columns = (
            *(BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[problems]}")),
            *(TextColumn("{task.fields[spent]}"), TimeElapsedColumn()),
        )
        requests = [line.request for line in self._lines]
        with (
            Progress(*columns, console=err, disable=not err.is_terminal) as progress,
            closing(self._calls.run(requests)) as calls,
        ):
            task = progress.add_task("", total=len(self._lines), problems="0 failed", spent="$0.00")
            for call in calls:
                self._results[call.index] = self._save(call)
                problems, spent = self._count_problems(), format_usd(self._sum_new())
                progress.update(task, advance=1, problems=problems, spent=spent)

    def _save(self, call: CallResult) -> CallResult:
        error = None if call.result is None else save_result(call.result, self._batch.folder).error
        return call if error is None else replace(call, error=error)  # the other lines are made nevertheless

    def _write_sheet(self, title: str) -> Path | None:
        try:
            return write_sheet(title, self._lines, self._results, self._batch.folder)
        except OSError as error:
            problem = explain_unwritten(self._batch.folder / "contact-sheet.html", error)
            err.print(f"{problem}. Nothing that was billed is lost: run the same command again.")
            return None

    def _costs_nothing(self, index: int) -> bool:
        return _is_sent(self._find_operation(index))

    def _find_operation(self, index: int) -> Operation | None:
        """Return the operation of a line; None if there is none, or if the ledger can't say so any more."""
        service, operation_id = self._client.endpoint().base_url, self._lines[index].request.operation_id
        with suppress(StoreError):  # the call has the same error, and says what it means for its money
            return self._client.store._storage.ledger.operation(service, operation_id or "")
        return None

    def _find_errors(self) -> list[WanError]:
        return [call.error for call in self._results.values() if call.error is not None]

    def _find_uncertain(self) -> list[WanError]:
        return [error for error in self._find_errors() if error.charged == "maybe"]

    def _count_problems(self) -> str:
        """Return how many lines have no image; those that may have been charged are counted apart."""
        uncertain = len(self._find_uncertain())
        return f"{len(self._find_errors()) - uncertain} failed" + f", {uncertain} uncertain" * (uncertain > 0)

    def _sum_new(self) -> Decimal:
        results = [call.result for call in self._results.values() if call.result is not None]
        return sum((result.cost_usd for result in results if not result.replayed), Decimal(0))

    def _wait(self, indexes: list[int]) -> None:
        print_waiting(self._name_lines(indexes))

    def _name_lines(self, indexes: Sequence[int]) -> str:
        return _name_lines([self._lines[index].number for index in indexes])

    def _print_errors(self) -> None:
        for index, call in sorted(self._results.items()):
            if call.error is not None:
                err.print(f"line {self._lines[index].number}: {self._explain(index, call.error)}")
        if charged := [line.number for index, line in enumerate(self._lines) if self._is_settled(index)]:
            err.print(f"To pay once more for {_name_lines(charged)}: {self._name_redo(charged)}.")
        stopped = self._calls.over_budget
        if stopped is not None:
            text = to_shell_advice(str(stopped.error), self._batch.folder)
            err.print(f"Stopped at line {self._lines[stopped.index].number}: {text}")

    def _explain(self, index: int, error: WanError) -> str:
        """Return the text of an error as a person at a shell follows it."""
        if err.is_terminal and isinstance(error, PaymentUncertainError):  # the steps stand at the end, once
            return f"{error.what} {error.money()} Operation: {error.operation_id}."
        if self._is_settled(index):
            return "It was settled as charged, and it has no image."
        return to_shell_advice(str(error), self._batch.folder)

    def _is_settled(self, index: int) -> bool:
        """Say whether a line was settled as charged, so that only another payment makes it."""
        call = self._results.get(index)
        operation = None if call is None or call.error is None else self._find_operation(index)
        return operation is not None and operation.state == "charged"

    def _name_redo(self, numbers: Sequence[int]) -> str:
        if not self._batch.file.is_file():  # what came through a pipe is gone
            return f"run the same command with `{' '.join(f'--redo {number}' for number in numbers)}`"
        return name_redo(self._batch.arguments, numbers)

    def _summarize(self) -> str:
        made = [call.result for call in self._results.values() if call.result is not None and call.error is None]
        done = sum(result.replayed for result in made)
        waiting = len(self._lines) - len(self._results)
        text = f"{done} already done, {len(made) - done} new, {format_usd(self._sum_new())} this run"
        with suppress(StoreError):  # the ledger is gone, which the lines say
            text += f", {format_usd(self._budget.spent_usd)} in all"
        uncertain = self._find_uncertain()
        failed = len(self._find_errors()) - len(uncertain)
        at_risk = format_usd(sum((error.max_cost_usd or Decimal(0) for error in uncertain), Decimal(0)))
        text += f"; {failed} failed" * (failed > 0)
        text += f"; {len(uncertain)} uncertain ({at_risk} may have been charged)" * bool(uncertain)
        return text + f"; {waiting} not started" * (waiting > 0)


def _name_lines(numbers: Sequence[int]) -> str:
    return f"{'lines' if len(numbers) > 1 else 'line'} {', '.join(map(str, numbers))}"
