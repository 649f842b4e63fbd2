"""What images are called in a conversation, and how little its messages are trusted."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_wan import ImageRequest, ImageResult, WanStore, errors
from langchain_wan._call import references
from langchain_wan._call.job import Call
from langchain_wan._net.addresses import parse_target
from langchain_wan._net.messages import Lost, Outcome, Reply
from langchain_wan._storage.ids import CROCKFORD, IMAGE_ID, image_id
from langchain_wan._tool.conversation import Conversation
from langchain_wan.models import GeneratedImage
from tests.support.examples import examples
from tests.support.flow_script import Script, image_reply
from tests.support.image_blocks import NO_SOURCE
from tests.support.images import in_base64, png

URL = "https://files.example.com/photo.png?Signature=abc"


def picture(data: bytes) -> dict[str, Any]:
    return {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": "image/png"}


def carrying(url: str | None, data: bytes = b"", **facts: Any) -> ToolMessage:
    """A tool message whose artifact says that an image is at a URL."""
    sha256 = hashlib.sha256(data or png()).hexdigest()
    shown = GeneratedImage(
        id=image_id(sha256), url=url, mime_type="image/png", width=300, height=300, size_bytes=1, sha256=sha256
    )
    artifact = {"images": [{**shown.model_dump(mode="json"), **facts}]}
    return ToolMessage("1 image", tool_call_id="call_0", artifact=artifact)


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> WanStore:
    made = WanStore() if request.param == "memory" else WanStore(tmp_path)
    return made.scoped("anna")


def make(
    store: WanStore,
    messages: list[Any] | None,
    *names: str,
    thread: str | None = "1",
    files: Any = None,
    urls: str = "pass",
) -> Script:
    """Edit the images that a model names in a conversation."""
    conversation = Conversation(store, messages, thread)
    call = Call(scope=store.scope, by_model=True, conversation=conversation)
    played = Script([image_reply(in_base64(png("blue")))], files)
    played.make(ImageRequest(prompt="edit", images=names), call, store=store, reference_urls=urls)
    return played


def sent(script: Script) -> list[bytes]:
    parts = script.sent[0]["messages"][0]["content"][:-1]
    return [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in parts]


def test_an_upload_by_url_is_downloaded_once_and_becomes_an_id(store: WanStore) -> None:
    messages = [HumanMessage([{"type": "image", "url": URL}])]
    files: dict[str, list[Outcome]] = {URL: [Reply(200, {}, png())]}
    first = make(store, messages, "upload_1", urls="fetch", files=files)
    assert sent(first) == [png()]
    (upload,) = Conversation(store, messages, "1").uploads()
    assert upload.image_id == store.add(png()).id
    # The URL may have expired since: nothing is downloaded any more.
    again = Conversation(store, messages, "1")
    request = ImageRequest(prompt="once more", images=("upload_1",))
    script = Script([image_reply(in_base64(png("blue")))])
    script.make(request, Call(scope="anna", by_model=True, conversation=again), store=store, reference_urls="fetch")
    assert sent(script) == [png()]


def test_an_id_in_the_messages_is_downloaded_and_has_to_be_that_image(store: WanStore) -> None:
    url = "https://oss.example.com/1.png?Expires=1"
    name = image_id(hashlib.sha256(png()).hexdigest())
    for urls in ("pass", "fetch"):
        assert sent(make(store, [carrying(url)], name, urls=urls, files={url: [Reply(200, {}, png())]})) == [png()]
        store.delete(name)
    with pytest.raises(errors.ImageReferenceError, match="no image is called"):
        make(store, [carrying(url)], name, urls="refuse")


@pytest.mark.parametrize(
    "outcome", [Reply(200, {}, png("green")), Reply(200, {}, b"<html>"), Reply(403, {}, b""), Lost("reset", "reading")]
)
def test_an_id_whose_url_shows_something_else_is_refused(store: WanStore, outcome: Outcome) -> None:
    url = "https://oss.example.com/1.png"
    name = image_id(hashlib.sha256(png()).hexdigest())
    with pytest.raises(errors.ImageReferenceError):
        make(store, [carrying(url)], name, files={url: [outcome]})
    assert store.get(name) is None
    assert store.history() == []


def test_bytes_of_another_scope_are_not_given_to_whoever_posts_their_digest(store: WanStore) -> None:
    secret = store.scoped("ben").add(png())
    with pytest.raises(errors.ImageReferenceError):
        make(
            store,
            [carrying("https://evil.example.com/x")],
            secret.id,
            files={"https://evil.example.com/x": [Reply(404, {}, b"")]},
        )
    for url in (None, ""):
        with pytest.raises(errors.ImageReferenceError, match="no image is called"):
            make(store, [carrying(url)], secret.id)


def test_an_expired_url_in_the_messages_is_no_name() -> None:
    store = WanStore().scoped("anna")
    now = datetime.now(UTC)
    for age, known in ((timedelta(hours=1), True), (timedelta(hours=-1), False)):
        message = carrying("https://oss.example.com/1.png", expires_at=(now + age).isoformat())
        conversation = Conversation(store, [message], "1")
        assert (conversation.carried(message.artifact["images"][0]["id"]) is not None) is known
        assert bool(conversation.names()) is known


@pytest.mark.parametrize(
    "artifact",
    [
        None,
        5,
        "images",
        [],
        {"images": None},
        {"images": "x"},
        {"images": {"id": 1}},
        {"images": [None, 5, {}, {"id": "../../etc"}]},
    ],
)
def test_an_artifact_of_another_form_is_nothing(artifact: Any) -> None:
    message = ToolMessage("img", tool_call_id="x", artifact=artifact)
    conversation = Conversation(WanStore().scoped("anna"), [message], "1")
    assert conversation.names() == []
    assert conversation.visible_ids == {}


def test_a_url_that_looks_like_an_id_is_a_url() -> None:
    store = WanStore()
    secret = store.add(png(), scope="ben")
    for url in (secret.id, "upload_1", "it is no image that can be read", "file:///etc/passwd", "/etc/passwd"):
        messages = [HumanMessage([{"type": "image", "url": url}])]
        for thread in ("1", None):
            with pytest.raises(errors.ImageReferenceError):
                make(store.scoped("anna"), messages, "upload_1", thread=thread)


def test_two_conversations_of_one_scope_number_their_own_uploads(store: WanStore) -> None:
    for thread, colour in (("1", "red"), ("2", "blue")):
        messages = [HumanMessage([picture(png(colour))])]
        assert sent(make(store, messages, "upload_1", thread=thread)) == [png(colour)]
    assert sent(make(store, None, "upload_1", thread="1")) == [png("red")]
    with pytest.raises(errors.ImageReferenceError, match="no image is called upload_1"):
        make(store, None, "upload_1", thread="3")


def test_without_a_thread_uploads_are_those_that_are_there(store: WanStore) -> None:
    both = HumanMessage([picture(png("red")), picture(png("blue"))])
    assert sent(make(store, [both], "upload_2", thread=None)) == [png("blue")]
    with pytest.raises(errors.ImageReferenceError):
        make(store, [], "upload_1", thread=None)


def test_an_upload_whose_bytes_went_is_stored_again_from_the_message(store: WanStore) -> None:
    messages = [HumanMessage([picture(png())])]
    (upload,) = Conversation(store, messages, "1").uploads()
    image = store.get(upload.image_id or "")
    assert image is not None
    sha256 = image.sha256
    del image
    store._storage.blobs.delete(sha256)
    assert sent(make(store, messages, "upload_1")) == [png()]


def test_an_upload_that_was_deleted_and_is_gone_from_the_messages_is_refused(store: WanStore) -> None:
    (upload,) = Conversation(store, [HumanMessage([picture(png())])], "1").uploads()
    store.delete(upload.image_id or "")
    with pytest.raises(errors.ImageReferenceError, match="deleted"):
        make(store, None, "upload_1")


def test_only_what_people_said_is_an_upload() -> None:
    block: Any = picture(png())
    summary = HumanMessage([block], additional_kwargs={"lc_source": "summarization"})
    conversation = Conversation(WanStore(), [summary, AIMessage([block]), ToolMessage([block], tool_call_id="x")], "1")
    assert conversation.uploads() == []
    assert conversation.unused() == []


def test_a_refusal_lists_twelve_names_at_most_the_newest() -> None:
    store = WanStore().scoped("anna")
    made = [store.add(png("red", (300, 300 + size))).id for size in range(15)]
    assert Conversation(store, [], "1").names() == made[-12:]


def test_each_unusable_block_is_an_upload_of_its_own() -> None:
    blocks: list[Any] = [
        NO_SOURCE["file id"],
        {"type": "image", "file_id": "file-2"},
        picture(b"no image"),
        picture(png()),
    ]
    uploads = Conversation(WanStore(), [HumanMessage(blocks)], "1").uploads()
    assert [upload.name for upload in uploads] == ["upload_1", "upload_2", "upload_3", "upload_4"]
    assert [upload.problem is None for upload in uploads] == [False, False, False, True]


def test_a_result_read_back_in_a_new_process_is_edited_through_its_url() -> None:
    """Code has an image, and the store does not have its bytes any more."""
    url = "https://oss.example.com/1.png"
    message = carrying(url)
    message.artifact |= {"model": "wan2.7-image", "prompt": "a fox", "cost_usd": "0.030", "operation_id": "x"}
    result = ImageResult.from_message(message, WanStore())
    script = Script([image_reply(in_base64(png("blue")))], {url: [Reply(200, {}, png())]})
    script.make(result.images[0].edit("make it night"))
    assert sent(script) == [png()]
    gone = result.images[0].model_copy(update={"url": None})
    with pytest.raises(errors.ImageReferenceError) as raised:
        Script([]).make(gone.edit("make it night"))
    assert raised.value.reason == "gone"


BLOCKS = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "url", "image_url", "base64", "data", "source", "mime_type", "file_id", "text"]),
            inner | st.sampled_from(["image", "image_url", "media", "image/png", "data:image/png;base64,AAAA"]),
            max_size=4,
        )
    ),
    max_leaves=6,
)


@examples(2)
@given(st.lists(BLOCKS, max_size=3), BLOCKS)
def test_no_message_that_a_client_can_post_breaks_a_conversation(blocks: list[Any], artifact: Any) -> None:
    said = HumanMessage("x").model_copy(update={"content": blocks})
    answered = ToolMessage("x", tool_call_id="x").model_copy(update={"content": blocks, "artifact": artifact})
    conversation = Conversation(WanStore(), [said, answered], "1")
    conversation.uploads()
    assert conversation.names() == [
        f"upload_{number}" for number, one in enumerate(conversation.uploads(), 1) if not one.problem
    ]
    conversation.unused()
    conversation.at_url("https://example.com/")


REASONS = (
    ": no image of this conversation has this name.",
    ": it is not an image id, an upload name or a URL.",
    ": this URL can't be used.",
    ": it is not an image that can be read.",
)
NAMES = st.text(max_size=80) | st.sampled_from(
    ["img_", "upload_", "data:image/png;base64,", "http://", "https://a.example.org"]
)


@examples(4)
@given(st.lists(NAMES, min_size=1, max_size=4).map("".join), st.sampled_from(["pass", "fetch", "refuse"]))
def test_whatever_a_model_names_is_an_image_a_public_url_or_our_error(name: str, urls: Any) -> None:
    conversation = Conversation(WanStore().scoped("anna"), [], "1")
    naming = references.Naming(WanStore().scoped("anna")._storage, urls, by_model=True, conversation=conversation)
    source = ImageRequest(prompt="x", images=(name,)).images[0]
    found: Any = None
    advice = ""
    try:
        (found,) = references.resolve([source], naming)
    except errors.ImageReferenceError as error:
        advice = error.advice
    if found is None:
        assert advice.startswith(("images[0]", "upload_"))
        assert advice.endswith(REASONS)
    else:
        assert urls != "refuse"
        assert found.data is None
        assert (found.url or found.fetch) == name
        assert urls == "fetch" or parse_target(name).host


@examples(2)
@given(st.text(alphabet="img_0123456789abcdefghjkmnpqrstvwxyzILOU", max_size=20))
def test_an_id_is_exactly_of_its_form(name: str) -> None:
    store = WanStore()
    assert store.get(name) is None
    assert bool(IMAGE_ID.fullmatch(name)) is (
        len(name) == 17 and name[:4] == "img_" and set(name[4:]) <= set(CROCKFORD)
    )
