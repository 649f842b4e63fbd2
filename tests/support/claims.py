"""Operations for a ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from langchain_wan._storage.money import to_nano
from langchain_wan._storage.operations import Claim

SERVICE = "https://api.aisa.one/v1"


def claim(name: str = "one", **changes: Any) -> Claim:
    fields: dict[str, Any] = {
        "service": SERVICE,
        "id": name,
        "scope": "",
        "fingerprint": f"print of {name}",
        "max_nano": to_nano(Decimal("0.06")),
        "request": {"model": "wan2.7-image", "prompt": "a fox", "n": 2, "parents": ["img_p"], "metadata": {"k": "v"}},
    }
    return Claim(**{**fields, **changes})
