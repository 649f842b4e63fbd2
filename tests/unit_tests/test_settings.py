from __future__ import annotations

import pickle
from decimal import Decimal

import pytest
from pydantic import SecretStr, ValidationError

from langchain_wan import WanClient, WanConfigurationError, WanImageGenerator, WanImageTool, WanStore
from langchain_wan.settings import WanSettings


def test_the_key_is_read_from_the_environment_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = WanSettings()
    with pytest.raises(WanConfigurationError, match="AISA_API_KEY"):
        settings.endpoint()
    for key in ("sk-one", "sk-two"):
        monkeypatch.setenv("AISA_API_KEY", key)
        assert settings.endpoint().api_key.get_secret_value() == key
    assert WanSettings(api_key="sk-given").endpoint().api_key.get_secret_value() == "sk-given"


@pytest.mark.parametrize("key", ["", "  ", "\n"])
def test_a_blank_key_is_a_missing_key(key: str) -> None:
    with pytest.raises(WanConfigurationError, match="No API key"):
        WanSettings(api_key=key).endpoint()


@pytest.mark.parametrize("key", ["sk-canary\n", "sk canary", "sk-canary\x00", "sk-cänary"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(WanConfigurationError) as caught:
        WanSettings(api_key=key).endpoint()
    assert "canary" not in str(caught.value)


def test_a_key_of_a_wrong_type_is_not_shown() -> None:
    with pytest.raises(TypeError, match="SecretStr") as caught:
        WanSettings(api_key=["sk-canary"])  # type: ignore[arg-type]  # wrong on purpose
    assert "canary" not in str(caught.value)


def test_the_address_is_the_real_service_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = WanSettings(api_key="sk-x")
    assert settings.endpoint().base_url == "https://api.aisa.one/v1"
    monkeypatch.setenv("AISA_BASE_URL", "http://127.0.0.1:9/v1/")
    assert settings.endpoint().base_url == "http://127.0.0.1:9/v1"
    assert settings.endpoint().loopback == ("127.0.0.1", 9)
    assert WanSettings(api_key="k", base_url="https://proxy.example.com/v1").endpoint().loopback is None


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.aisa.one/v1", "ftp://api.aisa.one", "api.aisa.one", "https://", "https://u:p@api.aisa.one/v1"),
        *(
            "https://@api.aisa.one",
            "https://api.aisa.one/v1?x=1",
            "https://api.aisa.one\\@evil.example",
            "http://127.1.evil.com",
        ),
        *("http://127.0.0.1:99999/v1", "https://api aisa.one"),
    ],
)
def test_an_address_that_could_leak_the_key_is_refused(url: str) -> None:
    with pytest.raises(WanConfigurationError, match="base_url"):
        WanSettings(api_key="sk-x", base_url=url).endpoint()


@pytest.mark.parametrize("kind", [WanSettings, WanClient, WanImageGenerator, WanImageTool])
def test_a_misspelt_setting_raises(kind: type[WanSettings]) -> None:
    with pytest.raises(ValidationError, match="modle"):
        kind(modle="wan2.7-image")  # type: ignore[call-arg]  # wrong on purpose


@pytest.mark.parametrize(
    "wrong",
    [
        *({"timeout": 0}, {"timeout": float("inf")}, {"download_timeout": -1}, {"max_concurrency": 0}),
        *(
            {"prices": {"x": Decimal(-1)}},
            {"prices": {"x": Decimal("NaN")}},
            {"reference_urls": "open"},
            {"model": ""},
        ),
    ],
)
def test_a_setting_that_cannot_work_raises(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WanSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("kind", [WanClient, WanImageGenerator, WanImageTool])
def test_nothing_shows_or_pickles_the_key(kind: type[WanSettings]) -> None:
    made = kind(api_key=SecretStr("sk-canary"), proxy="http://user:canary@proxy.example.com:3128", timeout=7)
    assert "canary" not in repr(made)
    assert "canary" not in str(made)
    data = pickle.dumps(made)
    assert b"sk-canary" not in data
    back = pickle.loads(data)  # noqa: S301  our own
    assert back.api_key is None
    assert back.timeout == 7
    assert made.api_key is not None


def test_all_that_name_no_store_share_one() -> None:
    assert WanImageTool().store is WanImageGenerator().store is WanClient().store is WanStore.default()
    mine = WanStore()
    assert WanImageTool(store=mine).generator.store is mine
