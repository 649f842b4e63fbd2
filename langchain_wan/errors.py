"""Every error of the package, as one tree.

```
* WanError                        .charged .operation_id .code .max_cost_usd .advice
  x InvalidImageRequestError      the request breaks a rule; found before anything was sent
  x ImageReferenceError           an input image was refused or unreadable               .reason
  x BudgetExceededError           the budget does not allow this call
  x NotSentError                  the service could not be reached; nothing arrived there
  x StatusError                   the API refused    .status_code .request_id .retry_after
    + AuthenticationError
    + InsufficientCreditError
    + ContentPolicyError
    + RateLimitError
    + ModelUnavailableError
  x PaymentUncertainError         sent, and the outcome is unknown                       .stage
    + UnreadableAnswerError       an answer came that holds no image we can read
  x PaidButNotRetrievedError      charged, and no image could be fetched yet
  x StoreError                    the image store failed
WanConfigurationError(ValueError) the program is set up wrongly; never told to a model
```

The text of each says what happened, whether money was spent, and what to do next. `advice` is the
shorter text for a language model: what it may change, never a way round a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Literal, Self

from langchain_core.exceptions import ModelError
from langchain_core.tools import ToolException

from langchain_wan._text.amounts import format_usd
from langchain_wan._text.control_characters import escape_line, escape_text

Charged = Literal["no", "maybe", "yes"]

UNAVAILABLE = "Image generation is unavailable at the moment. Tell the user; calling again will not help."


# What to do after a call that may have been paid; `{operation}` becomes its id when the text is read.
BLOCKED_UNTIL_SETTLED = (
    "It was not retried; identical requests are blocked until you settle it: check the account, then call "
    "store.resolve('{operation}', 'not_charged') or store.resolve('{operation}', 'charged')."
)

RESUME_LATER = "resume() fetches what is missing without paying again, while the URLs last."


class WanError(ToolException, ModelError, RuntimeError):
    """An image could not be delivered.

    It is a `ToolException`, so that tools can report it to the model; a `ModelError` that says it is not
    retryable, so that LangChain's retry middleware leaves it alone; and a `RuntimeError`, which LangGraph's
    default `RetryPolicy` does not retry.

    Attributes:
        what: What happened, in one sentence.
        next_step: What to do next; empty where nothing helps.
        charged: Whether money was spent: `"no"`, `"maybe"` or `"yes"`.
        operation_id: The paid call (an idempotency key), or None if none was begun.
        code: The service's own error code, or None.
        advice: What a language model is told.
    """

    is_retryable: bool = False
    is_of_call_only: ClassVar[bool] = True  # else it may come where nobody would expect a charge
    default_charged: ClassVar[Charged] = "no"
    default_advice: ClassVar[str] = UNAVAILABLE

    def __init__(
        self,
        what: str,
        *,
        next_step: str = "",
        advice: str | None = None,
        charged: Charged | None = None,
        code: str | None = None,
        operation_id: str | None = None,
        max_cost_usd: Decimal | None = None,
    ) -> None:
        self.what, self.next_step = escape_line(what.strip()), escape_line(next_step.strip())
        self.charged: Charged = self.default_charged if charged is None else charged
        self.advice = self.default_advice if advice is None else escape_text(advice)
        self.code = None if code is None else escape_line(code)
        self.operation_id = operation_id
        self._max_cost_usd = max_cost_usd
        self._fixed_text: str | None = None  # instead of the text that is made of the attributes
        super().__init__(self.what)

    @property
    def max_cost_usd(self) -> Decimal | None:
        """The most that the call can have cost in dollars, or None where nothing was charged."""
        return None if self.charged == "no" else self._max_cost_usd

    @property
    def args(self) -> tuple[Any, ...]:  # type: ignore[override]  # LangChain shows `args[0]` to a model
        """The text, made when it is read: what was learned of the money since the error was made stands in it."""
        return (self._text(),)

    def _text(self) -> str:
        if self._fixed_text is not None:
            return self._fixed_text
        next_step = self.next_step.replace("{operation}", self.operation_id or "ID")
        return " ".join(sentence for sentence in (self.what, self.money(), next_step) if sentence)

    def money(self) -> str:
        """Return the sentence that says whether money was spent; "" where no call was made."""
        if self.charged == "no" and self.operation_id is None and not self.is_of_call_only:
            return ""
        amount = "" if self.max_cost_usd is None else f" ({format_usd(self.max_cost_usd)})"
        return {
            "no": "Nothing was charged.",
            "maybe": f"It may have been charged{amount}.",
            "yes": f"It was charged{amount}.",
        }[self.charged]

    @property
    def needs_operator(self) -> bool:
        """Whether only the operator of the application can fix it: the model is told "unavailable"."""
        return self.advice == UNAVAILABLE

    def __str__(self) -> str:
        """Add the operation, which `resolve` and `resume` ask for, where money may have been spent."""
        text = self._text()
        is_named = self.operation_id is None or self.operation_id in text
        if self.charged == "no" or is_named or text == self.advice:
            return text
        return f"{text} Operation: {self.operation_id}."

    def __repr__(self) -> str:
        """Return the text with what a program needs to know: tracers show it as the error of a run."""
        if self._fixed_text is not None:  # for a model
            return f"{type(self).__name__}({self._text()!r})"
        facts = ", ".join(f"{name}={value!r}" for name, value in error_facts(self).items() if name != "type" and value)
        return f"{type(self).__name__}({self._text()!r}, {facts})"

    def for_model(self) -> Self:
        """Return the same error with the advice as its text, for whoever shows the text of errors to a model."""
        return self._restored({**self.__dict__, "_fixed_text": self.advice})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by attributes; the constructor's arguments are not kept."""
        return _restore, (type(self), self.__dict__)

    @classmethod
    def _restored(cls, attributes: Mapping[str, Any]) -> Self:
        error = cls.__new__(cls)
        error.__dict__.update(attributes)
        return error


def _restore(error_type: type[WanError], attributes: dict[str, Any]) -> WanError:
    return error_type._restored(attributes)


class InvalidImageRequestError(WanError):
    """The request breaks a rule of the service or of this package; nothing was sent."""

    default_advice = "The request is not valid. Correct the arguments and call again."


class ImageReferenceError(WanError):
    """An image was refused or could not be read; nothing was sent.

    Outside of a paid call, such as in `WanStore.add`, the text says nothing of charges.

    Attributes:
        reason: A short word for code: `"unknown"`, `"refused"`, `"unreadable"`, `"too_large"`, ...
    """

    is_of_call_only = False
    default_advice = "One of `images` can't be used. Use the ids or names of images in this conversation."

    def __init__(self, what: str, *, reason: str = "refused", **kwargs: Any) -> None:
        self.reason = reason
        super().__init__(what, **kwargs)


class BudgetExceededError(WanError):
    """The budget does not allow this call; nothing was sent."""

    default_advice = "The image budget does not allow this call. Tell the user; do not call again."


class NotSentError(WanError):
    """The service could not be reached, so the request certainly did no work."""

    is_retryable = True


class StatusError(WanError):
    """The service refused the request and did no work.

    Attributes:
        status_code: The HTTP status.
        request_id: The service's name for this request, to quote to its support, or None.
        retry_after: Seconds that the service asked to wait, or None.
        input_url_refused: Whether the service could not load an input image: a dead link, or a data URI.
    """

    input_url_refused: bool = False
    default_advice = "The image service refused the request. Change the prompt or the images, or tell the user."

    def __init__(
        self,
        what: str,
        *,
        status_code: int,
        request_id: str | None = None,
        retry_after: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.status_code = status_code
        self.request_id = request_id
        self.retry_after = retry_after
        super().__init__(what, **kwargs)


class AuthenticationError(StatusError):
    """The API key is missing at the service, invalid, revoked, or lacks a permission."""

    default_advice = UNAVAILABLE


class InsufficientCreditError(StatusError):
    """No balance, or a spending cap or quota of the key is reached; waiting does not help."""

    default_advice = UNAVAILABLE


class ContentPolicyError(StatusError):
    """The service's moderation refused the prompt, an input image or the result."""

    default_advice = (
        "The prompt or an image was refused by the service's content policy. Rephrase it, or tell the user."
    )


class RateLimitError(StatusError):
    """Too many requests for now; the same request may work later."""

    is_retryable = True
    default_advice = "The image service is busy. Tell the user to try again in a minute."


class ModelUnavailableError(StatusError):
    """The model does not exist or is not provisioned for this account."""

    default_advice = UNAVAILABLE


class PaymentUncertainError(WanError):
    """The request was sent and the outcome is unknown, so it was not sent again.

    Attributes:
        stage: Where it stopped: `"send"`, `"wait"`, `"read"`, `"status"` or `"interrupted"`.
        status_code: The HTTP status, if one came.
        request_id: The service's name for this request, or None.
    """

    default_charged = "maybe"
    default_advice = (
        "The image may have been made and charged, but no answer came. Tell the user, and ask before trying again."
    )

    def __init__(
        self,
        what: str,
        *,
        stage: str = "wait",
        status_code: int | None = None,
        request_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.stage = stage
        self.status_code = status_code
        self.request_id = request_id
        super().__init__(what, **kwargs)


class UnreadableAnswerError(PaymentUncertainError):
    """An answer came that holds no image that can be read; the raw answer is kept."""

    default_advice = "The image service gave an answer without an image. Tell the user, and ask before trying again."


class PaidButNotRetrievedError(WanError):
    """The images were made and charged, and none could be fetched yet; `resume` fetches them without paying."""

    default_charged = "yes"
    default_advice = (
        "The image was made and charged, but could not be downloaded yet. Tell the user; do not generate it again."
    )


class StoreError(WanError):
    """The image store could not read or write, or does not have what was asked for.

    Outside of a paid call the text says nothing of charges.
    """

    is_of_call_only = False


class WanConfigurationError(ValueError):
    """The program is set up wrongly: a missing key, a bad `base_url`, a setting that can't work."""

    def __init__(self, what: str) -> None:
        super().__init__(escape_line(what))


NOT_CHARGED: tuple[type[WanError], ...] = (
    NotSentError,
    StatusError,
    BudgetExceededError,
    ImageReferenceError,
    InvalidImageRequestError,
)
"""The errors after which certainly nothing was charged: safe to fall back to another model."""


def error_facts(error: WanError) -> dict[str, str | None]:
    """Return what a program needs to know of an error, as JSON values: the artifact, events and traces show it."""
    return {
        "type": type(error).__name__,
        "code": error.code,
        "charged": error.charged,
        "operation_id": error.operation_id,
        "max_cost_usd": None if error.max_cost_usd is None else str(error.max_cost_usd),
    }


def error_to_json(error: WanError) -> dict[str, Any]:
    """Return an error as JSON values, so that it can be raised again in another process."""
    plain = {name: str(value) if isinstance(value, Decimal) else value for name, value in vars(error).items()}
    return {"type": type(error).__name__, "attributes": plain}


def error_from_json(values: Mapping[str, Any]) -> WanError:
    """Return the error that `error_to_json` described, or that format 1 of a store described with its whole text."""
    # What a store holds may be from an older version, or from somebody else's.
    attributes = {
        name: escape_text(value) if isinstance(value, str) else value for name, value in values["attributes"].items()
    }
    cost = attributes.pop("max_cost_usd", None) or attributes.get("_max_cost_usd")
    attributes["_max_cost_usd"] = None if cost is None else Decimal(cost)
    if "text" in values:
        attributes |= {"what": values["text"], "next_step": "", "_fixed_text": values["text"]}
    error_type = globals().get(values["type"], WanError)
    if not (isinstance(error_type, type) and issubclass(error_type, WanError)):
        raise TypeError(f"{values['type']} is not an error of this package")
    return error_type._restored(attributes)
