"""The answers of the sandbox: documented refusals, and faults that a test names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Fault = str | Mapping[str, Any] | None
CHAT = "/v1/chat/completions"
# Dollars an image: https://aisa.one/docs/guides/pricing/ai-model-pricing-llm-inference (2026-04-22).
PRICES = {"wan2.7-image": Decimal("0.030"), "wan2.7-image-pro": Decimal("0.075")}
REQUEST_ID = "$request_id"  # a placeholder in bodies, replaced for each request


@dataclass(eq=False)
class Answer(Exception):  # noqa: N818  not every answer is an error; raising one skips the rest of the work
    """An HTTP answer of the sandbox."""

    body: Any = b""  # bytes, text, or JSON values
    status: int = 200
    kind: str = ""  # the content type; "" means text or JSON, by the body
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: float = 1  # the share of the body that is sent before the connection breaks; 0: no status either


# https://aisa.one/docs/api-reference/errors (2026-04-22). `openai_error`, `invalid_parameter_error`, and that a
# workspace without Wan is answered 500: https://aisa.one/docs/api-reference/chat/image-generation (2026-04-22).
_CODES = {
    (400, "invalid_request_error"): "invalid_request missing_parameter json_parse_error invalid_parameter_error",
    (401, "authentication_error"): "missing_api_key invalid_api_key revoked_api_key",
    (403, "authentication_error"): "insufficient_permissions model_not_allowed region_blocked",
    (404, "invalid_request_error"): "unknown_model unknown_endpoint",
    (404, "openai_error"): "openai_error",
    (422, "invalid_request_error"): "unsupported_parameter content_policy_violation",
    (429, "rate_limit_error"): "rate_limit_exceeded upstream_rate_limit quota_exceeded",
    (500, "api_error"): "model_not_found internal_error",
    (503, "upstream_error"): "gateway_error",
    (504, "upstream_error"): "upstream_timeout",
}
_KINDS = {code: kind for kind, codes in _CODES.items() for code in codes.split()}


def build_refusal(code: str, message: str = "") -> Answer:
    """Return the documented refusal with this code."""
    status, kind = _KINDS[code]
    error = {"type": kind, "code": code, "message": message or code.replace("_", " "), "request_id": REQUEST_ID}
    return Answer({"error": error}, status, headers={"Retry-After": "1"} if code == "rate_limit_exceeded" else {})


def build_upstream_refusal(message: str, code: str = "InvalidParameter") -> Answer:
    """Refusals by the model itself: https://help.aliyun.com/zh/model-studio/error-code (2026-05-30)."""
    text = f"<400> InternalError.Algo.InvalidParameter: {message}"
    return Answer({"error": {"message": text, "type": "invalid_request_error", "param": None, "code": code}}, 400)


# https://help.aliyun.com/zh/model-studio/content-security (2026-05-30); https://github.com/QwenLM/qwen-code/issues/3145
_TEXT = "<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content."
_INSPECTED = {"message": _TEXT, "type": "data_inspection_failed", "param": "None", "code": "data_inspection_failed"}
ANSWERS = {code: build_refusal(code) for code in _KINDS} | {
    "data_inspection_failed": Answer(
        {"error": _INSPECTED, "id": f"chatcmpl-{REQUEST_ID}", "request_id": REQUEST_ID}, 400
    ),
    "Arrearage": build_upstream_refusal(
        "Access denied, please make sure your account is in good standing.", "Arrearage"
    ),
    # Two flat fields: https://github.com/AIsa-team/agent-skills/blob/main/ai-models/llm-router/SKILL.md (2026-07-27).
    "insufficient_credits": Answer({"code": "insufficient_credits", "message": "insufficient credits"}, 402),
    "upstream_unavailable": Answer("<html><body><h1>502 Bad Gateway</h1></body></html>", 502, "text/html"),
    "empty": Answer({"id": f"chatcmpl-{REQUEST_ID}", "object": "chat.completion", "choices": []}),
    "error_200": Answer({"error": {"type": "upstream_error", "code": "bad_response", "message": "bad response"}}),
}
WIRE_FAULTS = {"disconnect": 0.0, "truncate": 0.5, "hang": 1.0}  # the share of the answer that is sent
_MODELS = [{"id": name, "owned_by": "alibaba", "supported_endpoint_types": ["openai"]} for name in PRICES]
FIXED = {f"GET /v1/models/{model['id']}": Answer(model) for model in _MODELS} | {
    "GET /v1/models": Answer({"object": "list", "data": _MODELS}),
    "POST /v1/images/generations": build_refusal("openai_error", f"Wan images are made by POST {CHAT}"),
}


FAULTS = (*ANSWERS, *WIRE_FAULTS)  # the names of all faults


def check_source(headers: Mapping[str, str], origin: str) -> None:
    """Refuse a request that a foreign page of a browser sends, or that a foreign host name brings here.

    Raises:
        Answer: The request is for another host, or from another origin.
    """
    own = (origin, origin.replace("127.0.0.1", "localhost"))
    if f"http://{headers.get('host', '')}" not in own:
        raise Answer(f"The sandbox answers only at {origin}.", 421)
    if headers.get("origin", origin) not in own:
        raise Answer(f"The sandbox answers only pages of {origin}.", 403)


def check_fault(fault: Fault) -> Answer | str | None:
    """Return the answer of a fault, or the name of a fault of the connection."""
    if isinstance(fault, Mapping):
        return Answer(**fault)
    if fault is not None and fault not in FAULTS:
        raise ValueError(f"{fault!r} is not a fault that the sandbox knows: {', '.join(FAULTS)}")
    return ANSWERS.get(fault or "", fault)
