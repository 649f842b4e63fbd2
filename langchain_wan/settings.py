"""The settings of tool, generator and client, declared once."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from langchain_wan._net.addresses import Network
from langchain_wan._net.endpoint import Endpoint, parse_base_url
from langchain_wan._net.proxy import parse_proxy
from langchain_wan._services.catalog import check_models
from langchain_wan.budget import Budget
from langchain_wan.errors import WanConfigurationError
from langchain_wan.models import GeneratedImage
from langchain_wan.retry import RetryPolicy
from langchain_wan.store import WanStore

ReferenceUrls = Literal["pass", "fetch", "refuse"]
SendReferences = Literal["auto", "data", "url"]

KEY_VARIABLE = "AISA_API_KEY"
URL_VARIABLE = "AISA_BASE_URL"
# Source: https://aisa.one/docs/api-reference/chat/image-generation (2026-04-22)
DEFAULT_BASE_URL = "https://api.aisa.one/v1"
DEFAULT_MODEL = "wan2.7-image"


HIGHEST_PRICE = 10_000  # dollars an image: what a ledger counts fits into 64 bits
SECRETS = ("api_key", "proxy")


def _hide(values: dict[str, Any], names: Iterable[str]) -> None:
    """Wrap what must not be shown, in place: frames and errors of pydantic show what they validate.

    What no setting is called is wrapped too: it may be a key under a misspelt name.
    """
    for name in values.keys() - names | values.keys() & SECRETS:
        if isinstance(values[name], str):
            values[name] = SecretStr(values[name])
        elif name in SECRETS and not isinstance(values[name], SecretStr | None):
            del values[name]  # before it stands in a traceback
            # A TypeError passes through pydantic as it is; a ValueError would carry the value along.
            raise TypeError(f"{name} must be a str or a SecretStr")


def _check_proxy(value: SecretStr | str | None) -> SecretStr | str | None:
    parse_proxy(value)
    return value


def _store(value: Any) -> Any:
    return WanStore(value) if isinstance(value, str | os.PathLike) else value


def _price(value: Decimal) -> Decimal:
    if not value.is_finite() or not 0 <= value <= HIGHEST_PRICE:
        raise ValueError(f"a price must be a number of dollars from 0 to {HIGHEST_PRICE}")
    return value


def _is_key_of_sandbox(key: SecretStr) -> bool:
    # No account has this key, so that a proxy on this machine could not charge anything either.
    from langchain_wan.sandbox.aisa import Aisa

    return key.get_secret_value() == Aisa.api_key


class WanSettings(BaseModel):
    """What a tool, a generator and a client have in common.

    Attributes:
        api_key: None means the environment's `AISA_API_KEY`, read at each call.
        base_url: None means the environment's `AISA_BASE_URL`, else the real service.
        model: The model of requests that name none.
        prices: Dollars an image by model, over the built-in table.
        store: Where images and the ledger live, a `WanStore` or a folder; the default is `WanStore.default()`.
        budget: A `Budget`, or a function of the runtime (None outside a graph) that returns one, sync or async. None:
            no limit.
        retry: Attempts and waits for what certainly did no work.
        timeout: Seconds for the answer of one request; queueing does not count. Upstream gives up at 300.
        download_timeout: Seconds for the images of one answer.
        max_concurrency: Paid calls in flight at once with one key, in this process.
        rate_limiter: Asked before each paid request.
        reference_urls: What is done with the URL of an input image that is not known: `"pass"` hands it on,
            `"fetch"` downloads it first, `"refuse"`.
        send_references: How stored input images travel: `"data"` as data URIs, `"url"` as URLs, `"auto"` as data
            URIs, and once more as URLs where the service refuses those.
        on_image: A function, sync or async, called once with each image that is stored; a URL that it returns becomes
            the image's URL.
        proxy: URL of an HTTP proxy, kept secret since it may contain a password. Proxies of the environment are not
            used, and a service on this machine is reached directly.
        allowed_networks: Internal networks that downloads may reach nevertheless.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    api_key: SecretStr | str | None = Field(default=None, repr=False)
    base_url: str | None = None
    model: Annotated[str, Field(min_length=1)] = DEFAULT_MODEL
    prices: dict[str, Annotated[Decimal, AfterValidator(_price)]] = Field(default_factory=dict)
    store: Annotated[WanStore, BeforeValidator(_store)] = Field(default_factory=WanStore.default)
    budget: Budget | Callable[[Any], Budget | Awaitable[Budget | None] | None] | None = None
    retry: RetryPolicy = RetryPolicy()
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 330.0
    download_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    max_concurrency: Annotated[int, Field(ge=1)] = 5
    rate_limiter: BaseRateLimiter | None = None
    reference_urls: ReferenceUrls = "pass"
    send_references: SendReferences = "auto"
    on_image: Callable[[GeneratedImage], str | Awaitable[str | None] | None] | None = None
    proxy: Annotated[SecretStr | str | None, AfterValidator(_check_proxy)] = Field(default=None, repr=False)
    allowed_networks: tuple[Network, ...] = ()

    if not TYPE_CHECKING:  # editors complete the settings by their names

        def __init__(self, **values: Any) -> None:
            _hide(values, type(self).model_fields)
            super().__init__(**values)

    @model_validator(mode="wrap")
    @classmethod
    def _show_no_input(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(values, dict):
            values = {**values}
            _hide(values, cls.model_fields)
        try:
            return handler(values)
        except ValidationError as error:
            problems = [
                InitErrorDetails(
                    type=PydanticCustomError(problem["type"], problem["msg"]), loc=problem["loc"], input=None
                )
                for problem in error.errors(include_url=False, include_context=False, include_input=False)
            ]
            shown = ValidationError.from_exception_data(error.title, problems, hide_input=True)
        del values
        raise shown

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        check_models([self.model], self.prices)
        return self

    def settings(self) -> dict[str, Any]:
        """Return the settings alone, to be passed on whole."""
        return {name: getattr(self, name) for name in WanSettings.model_fields}

    def endpoint(self) -> Endpoint:
        """Read key and address, from the environment where the settings have none.

        Raises:
            WanConfigurationError: One is missing, or can't be used.
        """
        base_url, loopback = self._read_address()
        key, proxy = self._find_key(), parse_proxy(self.proxy)
        if not key.get_secret_value().strip():
            raise WanConfigurationError(
                f"No API key: set the environment variable {KEY_VARIABLE} or pass api_key=... To try without a key, "
                "use the sandbox: pip install 'langchain-wan[sandbox]' and `with Sandbox() as s:`."
            )
        if re.fullmatch("[!-~]+", key.get_secret_value()) is None:
            raise WanConfigurationError("The API key contains whitespace or non-ASCII characters; nothing was sent.")
        return Endpoint(
            base_url,
            key,
            loopback,
            is_sandbox=loopback is not None and _is_key_of_sandbox(key),
            proxy=None if loopback else proxy,
        )

    def _read_address(self) -> tuple[str, tuple[str, int] | None]:
        return parse_base_url(self.base_url or os.environ.get(URL_VARIABLE) or DEFAULT_BASE_URL)

    def _find_key(self) -> SecretStr:
        setting = self.api_key if self.api_key is not None else os.environ.get(KEY_VARIABLE, "")
        return setting if isinstance(setting, SecretStr) else SecretStr(setting)

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle without the key, which the other process reads from its environment, and without a proxy's password.

        Where the proxy asks for one it refuses the other process, which sends nothing around it.
        """
        state = super().__getstate__()
        proxy = parse_proxy(self.proxy)
        fields = {**state["__dict__"], "api_key": None, "proxy": None if proxy is None else SecretStr(proxy.url)}
        return {**state, "__dict__": fields, "__pydantic_fields_set__": state["__pydantic_fields_set__"] - {"api_key"}}
