"""Refusals: the answers that certainly charged nothing, as one table of (status, code) with source and date.

An answer that is not in the table, and is not a plain 4xx, may have been charged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus

from langchain_wan.errors import (
    UNAVAILABLE,
    AuthenticationError,
    ContentPolicyError,
    InsufficientCreditError,
    ModelUnavailableError,
    RateLimitError,
    StatusError,
)


@dataclass(frozen=True)
class Refusal:
    """What a refusal means.

    Attributes:
        error: The class to raise.
        what: What happened.
        next_step: What to do next.
        advice: For the model; None means the advice of the class.
        input_url_refused: The service could not load what stands for a URL: a dead link; or, where all
            input images were data URIs, those, so that the same request may be sent again with URLs.
    """

    error: type[StatusError]
    what: str
    next_step: str
    advice: str | None = None
    input_url_refused: bool = False


_KEY = Refusal(
    AuthenticationError,
    "The service did not accept the API key.",
    "Set AISA_API_KEY to a valid key from console.aisa.one.",
)
_PERMISSION = Refusal(
    AuthenticationError,
    "The API key has no permission for this request.",
    "Check the key's permissions, its list of allowed models and the region in the AIsa console.",
)
_CREDIT = Refusal(
    InsufficientCreditError,
    "The account has no balance left, or a spending cap or quota is reached.",
    "Top up or raise the key's cap in the AIsa console; waiting does not help.",
)
_POLICY = Refusal(
    ContentPolicyError,
    "The content policy of the service refused the prompt, an input image or the generated image.",
    "Change the prompt or the images.",
)
_BUSY = Refusal(
    RateLimitError,
    "The service is handling too many requests.",
    "Wait, lower max_concurrency, or set a rate_limiter.",
)
_MODEL = Refusal(
    ModelUnavailableError,
    "The service does not offer this model to this account.",
    "Check the model name, or ask AIsa (developer@aisa.one) to provision the Wan image family for this workspace.",
)
_ROUTE = Refusal(
    StatusError,
    "The service does not know this route.",
    "Check base_url: Wan images are served by POST {base_url}/chat/completions, not by an images route.",
    advice=UNAVAILABLE,
)
_REQUEST = Refusal(
    StatusError,
    "The service refused the request.",
    "Correct the argument that the message names; parameters such as size or seed may not be supported.",
)
_IMAGE = Refusal(
    StatusError,
    "The service could not use an input image.",
    "Use a JPEG, PNG, BMP or WebP image with sides of 240 to 8000 pixels.",
    advice="The service could not use one of the input images. Use another image, or tell the user.",
)
_INPUT_URL = Refusal(
    StatusError,
    "The service could not load an input image.",
    "If it was sent as a URL, check that anybody can open it; if as data, pass a public URL.",
    advice="The service could not use one of the input images. Use another image, or tell the user.",
    input_url_refused=True,
)

# (status, code) -> refusal; None as status means any 4xx, or a 200 with an error in it.
REFUSALS: dict[tuple[int | None, str | None], Refusal] = {
    # https://aisa.one/docs/api-reference/chat/image-generation (2026-04-22, recorded from a live call)
    (400, "invalid_parameter_error"): _REQUEST,
    (404, "openai_error"): _ROUTE,
    (500, "model_not_found"): _MODEL,  # a workspace that is not provisioned for Wan: permanent, although a 5xx
    # https://aisa.one/docs/api-reference/errors (2026-04-22)
    (None, "invalid_request"): _REQUEST,
    (None, "missing_parameter"): _REQUEST,
    (None, "invalid_parameter_type"): _REQUEST,
    (None, "json_parse_error"): _REQUEST,
    (None, "missing_api_key"): _KEY,
    (None, "invalid_api_key"): _KEY,
    (None, "revoked_api_key"): _KEY,
    (None, "insufficient_permissions"): _PERMISSION,
    (None, "model_not_allowed"): _PERMISSION,
    (None, "region_blocked"): _PERMISSION,
    (None, "unknown_model"): _MODEL,
    (None, "resource_not_found"): _ROUTE,
    (None, "unknown_endpoint"): _ROUTE,
    (None, "max_tokens_exceeded"): _REQUEST,
    (None, "unsupported_parameter"): _REQUEST,
    (None, "content_policy_violation"): _POLICY,
    (None, "rate_limit_exceeded"): _BUSY,
    (None, "upstream_rate_limit"): _BUSY,
    # Also what a key's spending cap answers: https://aisa.one/docs/guides/authentication (2026-04-22)
    (None, "quota_exceeded"): _CREDIT,
    # https://github.com/AIsa-team/agent-skills (2026-07-27): 402 for no balance
    (402, None): _CREDIT,
    # Gateway of the new-api family: https://github.com/QuantumNous/new-api/blob/main/types/error.go (2026-09)
    (None, "insufficient_user_quota"): _CREDIT,
    (None, "insufficient_quota"): _CREDIT,
    (None, "insufficient_balance"): _CREDIT,
    (None, "sensitive_words_detected"): _POLICY,
    (None, "prompt_blocked"): _POLICY,
    (None, "model_not_found"): _MODEL,
    # Alibaba: https://help.aliyun.com/zh/model-studio/error-code (2026-05-30)
    (None, "datainspectionfailed"): _POLICY,
    (None, "data_inspection_failed"): _POLICY,
    (None, "ipinfringementsuspect"): _POLICY,
    (None, "arrearage"): _CREDIT,
    (None, "commoditynotpurchased"): _CREDIT,
    (None, "prepaidbilloverdue"): _CREDIT,
    (None, "postpaidbilloverdue"): _CREDIT,
    (None, "allocationquota.freetieronly"): _CREDIT,
    (None, "throttling.allocationquota"): _CREDIT,
    (None, "throttling"): _BUSY,
    (None, "limit_requests"): _BUSY,
    (None, "limit_burst_rate"): _BUSY,
    (None, "invalidapikey"): _KEY,
    (None, "accessdenied"): _PERMISSION,
    (None, "model.accessdenied"): _PERMISSION,
    (None, "modelnotfound"): _MODEL,
    (None, "model_not_supported"): _MODEL,
    (None, "invalidparameter.datainspection"): _IMAGE,
    (None, "invalidimageresolution"): _IMAGE,
    (None, "invalidimageformat"): _IMAGE,
    (None, "invalidimage.fileformat"): _IMAGE,
    (None, "badrequest.toolarge"): _IMAGE,
    (None, "badrequest.inputdownloadfailed"): _IMAGE,
    (None, "invalidparameter"): _REQUEST,
    # What the upstream answers if an image is not a URL that it can fetch.
    (400, "invalidurl"): _INPUT_URL,
    # By status alone, where the code says nothing.
    (401, None): _KEY,
    (403, None): _PERMISSION,
    (404, None): _ROUTE,
    (429, None): _BUSY,
}

# These 4xx mean that a gateway stopped waiting, or that the state is unknown: the request may still be processed.
AMBIGUOUS_STATUS = frozenset({408, 409, 425, 499})

# Moderation refuses with prefixes, as in "<400> InternalError.Algo.DataInspectionFailed: ...", under any status:
# https://github.com/QwenLM/qwen-code/issues/3145 (2026)
MODERATION_TEXT = ("datainspectionfailed", "data_inspection_failed")


def find_refusal(status: int, code: str | None, message: str) -> Refusal | None:
    """Return what a refusal means, or None if the request may have been processed."""
    name = (code or "").lower()
    if any(mark in name or mark in message.lower() for mark in MODERATION_TEXT):
        return _POLICY
    exact = REFUSALS.get((status, name))
    if exact is not None:
        return exact
    if status == HTTPStatus.OK:  # an error in a 200: only its code counts, whatever status it usually comes with
        refusal = _find_by_code(name) or _find_by_code_of_any_status(name)
        return None if refusal is None else replace(refusal, input_url_refused=False)
    if not 400 <= status < 500 or status in AMBIGUOUS_STATUS:  # noqa: PLR2004  the 4xx range
        return None
    return _find_by_code(name) or REFUSALS.get((status, None)) or _REQUEST


def _find_by_code_of_any_status(name: str) -> Refusal | None:
    return next((refusal for (_, code), refusal in REFUSALS.items() if code == name and name), None)


def _find_by_code(name: str) -> Refusal | None:
    if not name:
        return None
    # "Throttling.RateQuota" is a kind of "Throttling": the longest name in the table counts.
    parts = name.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((REFUSALS[None, known] for known in names if (None, known) in REFUSALS), None)
