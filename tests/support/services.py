"""A service that a test calls: how to reach it, and what it was asked."""

from __future__ import annotations

from typing import Any, Protocol

from langchain_wan.client import WanClient
from langchain_wan.models import ImageResult
from langchain_wan.requests import ImageRequest


class Service(Protocol):
    """The sandbox or a fault server."""

    @property
    def url(self) -> str: ...

    @property
    def api_key(self) -> str: ...

    @property
    def requests(self) -> Any: ...


def access(service: Service, **settings: Any) -> dict[str, Any]:
    """The settings that reach a service."""
    return {"base_url": service.url, "api_key": service.api_key, **settings}


def posts(service: Service) -> list[Any]:
    """The paid requests that a service received."""
    return [request for request in service.requests if request.method == "POST"]


def build_client(service: Service, **settings: Any) -> WanClient:
    return WanClient(**access(service, **settings))


class Generate(Protocol):
    """`generate` or `agenerate` of a client; the fixture of this name calls each test with both."""

    def __call__(self, client: WanClient, request: ImageRequest | str, **kwargs: Any) -> ImageResult: ...
