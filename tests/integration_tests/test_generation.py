"""The client over real HTTP, against the sandbox."""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.rate_limiters import InMemoryRateLimiter

from langchain_wan import ImageRequest, ImageResult, WanClient, WanStore, errors
from langchain_wan.models import WanEvent
from langchain_wan.sandbox.app import Sandbox
from tests.support.services import access, build_client, posts

Generate = Callable[..., ImageResult]


def test_a_request_goes_out_as_the_service_wants_it(sandbox: Sandbox, generate: Generate) -> None:
    client = build_client(sandbox)
    result = generate(client, ImageRequest(prompt="a red fox", n=2, seed=5, size="1280x720"))
    sent = posts(sandbox)[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.json == {
        "model": "wan2.7-image",
        "n": 2,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a red fox"}]}],
        "seed": 5,
        "size": "1280*720",
    }
    assert sent.headers["authorization"] == f"Bearer {sandbox.api_key}"
    assert sent.headers["user-agent"].startswith("langchain-wan/")
    assert [(image.width, image.height) for image in result.images] == [(1280, 720)] * 2
    assert result.cost_usd == Decimal("0.060") == sandbox.bill
    assert result.request_id
    assert result.model == "wan2.7-image"


def test_images_are_downloaded_at_once_without_the_key(sandbox: Sandbox, generate: Generate) -> None:
    result = generate(build_client(sandbox), ImageRequest(prompt="a red fox", n=3))
    gets = [request for request in sandbox.requests if request.method == "GET"]
    assert len(gets) == 3
    assert all("authorization" not in request.headers for request in gets)
    assert len({image.id for image in result.images}) == 3
    for image in result.images:
        assert image.read().startswith(b"\x89PNG")
        assert image.expires_at is not None
        assert image.expires_at > datetime.now(UTC) + timedelta(hours=23)


def test_base64_answers_are_stored_like_urls(generate: Generate) -> None:
    with Sandbox(base64=True) as service:
        result = generate(build_client(service), "a red fox")
        assert result.images[0].url is None
        assert result.images[0].to_pil().size == (1024, 1024)
        assert [request.method for request in service.requests] == ["POST"]


def test_an_edit_sends_the_images_own_bytes(sandbox: Sandbox, generate: Generate) -> None:
    client = build_client(sandbox)
    first = generate(client, ImageRequest(prompt="a red fox", n=2))
    edited = generate(client, first.images[1].edit("make it night"))
    by_id = generate(client, ImageRequest(prompt="make it night", images=(first.images[1].id,)))
    for sent in posts(sandbox)[1:]:
        shown, text = sent.json["messages"][0]["content"]
        assert text == {"type": "text", "text": "make it night"}
        assert sent.json["n"] == 1
        assert base64.b64decode(shown["image_url"]["url"].partition(",")[2]) == first.images[1].read()
    assert edited.parents == by_id.parents == [first.images[1].id]


def test_a_known_url_means_the_stored_image_even_without_its_signature(sandbox: Sandbox) -> None:
    client = build_client(sandbox)
    image = client.generate("a red fox").images[0]
    assert image.url is not None
    result = client.generate(ImageRequest(prompt="make it night", images=(image.url.partition("?")[0],)))
    assert result.parents == [image.id]
    assert posts(sandbox)[1].json["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_public_urls_are_handed_on_and_never_fetched_here(sandbox: Sandbox, generate: Generate) -> None:
    url = "https://images.example.com/photo.jpg?sig=1"
    generate(build_client(sandbox), ImageRequest(prompt="oil painting", images=(url,)))
    assert posts(sandbox)[0].json["messages"][0]["content"][0]["image_url"]["url"] == url
    with pytest.raises(errors.ImageReferenceError):
        generate(
            WanClient(**access(sandbox, reference_urls="refuse")), ImageRequest(prompt="oil painting", images=(url,))
        )
    assert len(posts(sandbox)) == 1


def test_a_url_is_fetched_first_where_that_is_asked_for(sandbox: Sandbox, generate: Generate) -> None:
    client = WanClient(**access(sandbox, reference_urls="fetch"))
    with pytest.raises(errors.ImageReferenceError):  # this machine has no way to a public host
        generate(client, ImageRequest(prompt="oil painting", images=("https://198.51.100.7/photo.jpg",)))
    assert posts(sandbox) == []


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/latest", "img_0000000000000", "a fox"]
)
def test_a_string_opens_no_file_and_reaches_no_internal_host(source: str, sandbox: Sandbox, generate: Generate) -> None:
    with pytest.raises(errors.ImageReferenceError) as caught:
        generate(build_client(sandbox), ImageRequest(prompt="x", images=(source,)))
    assert caught.value.charged == "no"
    assert posts(sandbox) == []


def test_an_id_works_in_the_next_process_from_a_folder(sandbox: Sandbox, tmp_path: Path) -> None:
    first = WanClient(**access(sandbox, store=WanStore(tmp_path))).generate("a red fox")
    later = WanClient(**access(sandbox, store=WanStore(tmp_path)))
    result = later.generate(ImageRequest(prompt="make it night", images=(first.images[0].id,)))
    assert result.parents == [first.images[0].id]
    assert [entry.images for entry in later.store.history()] == [[result.images[0].id], [first.images[0].id]]
    assert later.store.history()[0].parents == [first.images[0].id]


@pytest.mark.parametrize(
    ("fault", "kind", "charged"),
    [
        ("invalid_api_key", errors.AuthenticationError, "no"),
        ("model_not_allowed", errors.AuthenticationError, "no"),
        ("insufficient_credits", errors.InsufficientCreditError, "no"),
        ("quota_exceeded", errors.InsufficientCreditError, "no"),
        ("Arrearage", errors.InsufficientCreditError, "no"),
        ("content_policy_violation", errors.ContentPolicyError, "no"),
        ("data_inspection_failed", errors.ContentPolicyError, "no"),
        ("unsupported_parameter", errors.StatusError, "no"),
        ("model_not_found", errors.ModelUnavailableError, "no"),
        ("internal_error", errors.PaymentUncertainError, "maybe"),
        ("upstream_unavailable", errors.PaymentUncertainError, "maybe"),
        ("upstream_timeout", errors.PaymentUncertainError, "maybe"),
        ("disconnect", errors.PaymentUncertainError, "maybe"),
        ("truncate", errors.UnreadableAnswerError, "maybe"),
        ("empty", errors.UnreadableAnswerError, "maybe"),
    ],
)
def test_each_fault_is_the_error_that_says_what_it_cost_and_is_sent_once(
    fault: str, kind: type[errors.WanError], charged: str, generate: Generate
) -> None:
    with Sandbox(faults=[fault]) as service:
        with pytest.raises(kind) as caught:
            generate(build_client(service), "a red fox")
        assert type(caught.value) is kind
        assert caught.value.charged == charged
        assert len(posts(service)) == 1
        for secret in (service.api_key, "http://", "<html", "127.0.0.1"):
            assert secret not in str(caught.value)


def test_a_busy_service_is_asked_again_at_its_own_pace(generate: Generate) -> None:
    with Sandbox(faults=["rate_limit_exceeded"]) as service:
        began = time.monotonic()
        assert len(generate(build_client(service), "a red fox").images) == 1
        assert time.monotonic() - began >= 1  # Retry-After: 1
        assert len(posts(service)) == 2


def test_a_closed_port_is_not_sent(generate: Generate) -> None:
    with Sandbox() as service:
        settings = access(service)
    from langchain_wan import RetryPolicy

    with pytest.raises(errors.NotSentError) as caught:
        generate(WanClient(**settings, retry=RetryPolicy(attempts=2, initial=0.01)), "a red fox")
    assert caught.value.is_retryable
    assert "127.0.0.1" not in str(caught.value)


def test_the_deadline_ends_a_call_that_hangs(generate: Generate) -> None:
    with Sandbox(faults=["hang"]) as service, pytest.raises(errors.PaymentUncertainError) as caught:
        generate(WanClient(**access(service, timeout=0.5)), "a red fox")
    assert caught.value.stage == "wait"
    assert caught.value.max_cost_usd == Decimal("0.030")


def test_events_tell_the_stages_in_order(sandbox: Sandbox, generate: Generate) -> None:
    seen: list[WanEvent] = []
    result = generate(build_client(sandbox), "a red fox", on_event=seen.append)
    assert [event["stage"] for event in seen] == ["queued", "submitted", "answered", "stored", "done"]
    assert {event["operation_id"] for event in seen} == {result.operation_id}
    assert all(event["type"] == "wan_image" for event in seen)
    assert seen[-1]["cost_usd"] == "0.030"
    assert seen[-1]["images"][0]["id"] == result.images[0].id
    assert [event["elapsed_s"] for event in seen] == sorted(event["elapsed_s"] for event in seen)


def test_a_watcher_that_fails_loses_nothing(sandbox: Sandbox, generate: Generate) -> None:
    def fail(event: WanEvent) -> None:
        raise OSError("no progress bar")

    assert len(generate(build_client(sandbox), "a red fox", on_event=fail).images) == 1


def test_at_most_max_concurrency_paid_calls_are_in_flight() -> None:
    with Sandbox(latency=0.3) as service:
        client = WanClient(**access(service, max_concurrency=2))
        began = time.monotonic()

        async def several() -> None:
            await asyncio.gather(*(client.agenerate(f"fox {number}") for number in range(4)))

        threads = [threading.Thread(target=client.generate, args=(f"wolf {number}",)) for number in range(2)]
        for thread in threads:
            thread.start()
        asyncio.run(several())
        for thread in threads:
            thread.join()
        assert time.monotonic() - began >= 0.9  # six calls, two at a time
        assert len(posts(service)) == 6


def test_a_rate_limiter_is_asked_before_each_paid_request(sandbox: Sandbox, generate: Generate) -> None:
    class Counted(InMemoryRateLimiter):
        asked = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            self.asked += 1
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            return self.acquire()

    limiter = Counted()
    generate(WanClient(**access(sandbox, rate_limiter=limiter)), "a red fox")
    assert limiter.asked == 1


def test_one_client_serves_threads_and_event_loops_at_once(sandbox: Sandbox) -> None:
    client = build_client(sandbox)
    made: list[ImageResult] = []

    def in_a_thread() -> None:
        made.append(client.generate("from a thread"))

    def in_a_loop() -> None:
        made.append(asyncio.run(client.agenerate("from a loop")))

    threads = [threading.Thread(target=target) for target in (in_a_thread, in_a_loop) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert all(result.images[0].read() for result in made)


async def test_the_blocking_client_works_inside_a_running_loop(sandbox: Sandbox) -> None:
    client = build_client(sandbox)
    assert client.generate("a red fox").images
    assert (await client.agenerate("a red fox")).images


def test_a_forked_process_can_go_on_with_the_same_client(sandbox: Sandbox, tmp_path: Path) -> None:
    client = WanClient(**access(sandbox, store=WanStore(tmp_path)))
    before = client.generate("a red fox").images[0]
    child = os.fork()
    if child == 0:  # pragma: no cover  the child
        try:
            result = client.generate(before.edit("make it night"))
            again = asyncio.run(client.agenerate("a boat"))
            os._exit(0 if result.images and again.images else 1)
        except BaseException:  # noqa: BLE001  the parent sees the exit code
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert len(client.store.history()) == 3


def _made_by_a_spawned_process(client: WanClient) -> str:
    os.environ["AISA_API_KEY"] = "sk-aisa-sandbox"
    return client.generate("a red fox").images[0].id


def test_a_pickled_client_takes_its_key_from_the_other_process(sandbox: Sandbox, tmp_path: Path) -> None:
    client = WanClient(**access(sandbox, store=WanStore(tmp_path)))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        made = pool.apply(_made_by_a_spawned_process, (client,))
    assert client.store.get(made) is not None


async def sent(service: Sandbox) -> None:
    """Wait until a paid request has arrived."""
    async with asyncio.timeout(10):
        while not posts(service):  # noqa: ASYNC110  the sandbox lives in another thread
            await asyncio.sleep(0.01)


async def test_a_cancelled_call_that_was_sent_is_still_saved(tmp_path: Path) -> None:
    with Sandbox(latency=0.5) as service:
        client = WanClient(**access(service, store=WanStore(tmp_path)))
        request = ImageRequest(prompt="a red fox", operation_id="mine")
        task = asyncio.create_task(client.agenerate(request))
        await sent(service)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        result = await client.agenerate(request)
        assert result.replayed
        assert len(posts(service)) == 1


async def test_a_call_cancelled_in_the_queue_sends_nothing() -> None:
    with Sandbox(latency=0.5) as service:
        client = WanClient(**access(service, max_concurrency=1, store=WanStore()))
        first = asyncio.create_task(client.agenerate("first"))
        await sent(service)
        second = asyncio.create_task(client.agenerate("second"))
        await asyncio.sleep(0.1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await first
        assert (await client.agenerate("third")).images
        assert [request.json["messages"][0]["content"][0]["text"] for request in posts(service)] == ["first", "third"]


def test_what_was_not_retrieved_is_resumed_without_paying(tmp_path: Path, generate: Generate) -> None:
    with Sandbox(url_ttl=3600) as service:
        client = WanClient(**access(service, store=WanStore(tmp_path), download_timeout=1e-9))
        with pytest.raises(errors.PaidButNotRetrievedError):
            generate(client, ImageRequest(prompt="a red fox", n=2))
        later = WanClient(**access(service, store=WanStore(tmp_path)))
        resumed: Any = later.resume()
        assert [len(result.images) for result in resumed] == [2]
        assert asyncio.run(later.aresume()) == []
        assert len(posts(service)) == 1
        assert later.store.history()[0].state == "done"


def test_the_balance_is_what_is_left(sandbox: Sandbox) -> None:
    client = build_client(sandbox)
    before = client.balance()
    client.generate("a red fox")
    assert before - client.balance() == Decimal("0.030")
    assert asyncio.run(client.abalance()) == client.balance()
    with pytest.raises(errors.AuthenticationError):
        WanClient(base_url=sandbox.url, api_key="sk-wrong").balance()
