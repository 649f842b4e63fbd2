"""A search for the key that could not find it would prove nothing."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest

from langchain_wan import errors
from tests.support.fault_server import KEY, FaultServer
from tests.support.key_search import contains_key, error_texts, files_with_key, requests_with_key


@pytest.mark.parametrize(
    "shown",
    [KEY, f"Bearer {KEY}", KEY.encode(), base64.b64encode(KEY.encode()).decode(), KEY[::-1], KEY.encode().hex()],
)
def test_the_key_is_found_in_each_form(shown: str | bytes) -> None:
    assert contains_key(shown)
    assert not contains_key(shown[: len(shown) // 2])


def test_the_key_is_found_in_a_local_of_a_frame() -> None:
    def fails() -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        raise errors.WanError(f"no {len(headers)}")

    with pytest.raises(errors.WanError) as caught:
        fails()
    assert any(contains_key(shown) for shown in error_texts(caught.value))
    assert not contains_key(str(caught.value))


def test_the_key_is_found_in_a_file_and_in_a_request_to_another_place(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "ledger").write_bytes(b"\x00" + KEY.encode())
    (tmp_path / "other").write_text("nothing")
    assert files_with_key(tmp_path) == [tmp_path / "folder" / "ledger"]
    FaultServer.started.clear()
    with FaultServer(files={"/a.png": lambda connection, request: None}) as server, pytest.raises(httpx.HTTPError):
        httpx.get(f"{server.origin}/a.png", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    assert [request.path for request in requests_with_key()] == ["/a.png"]
