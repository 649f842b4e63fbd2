"""What goes in and what comes out: requests, images and results."""

from __future__ import annotations

import asyncio
import base64
import copy
import gc
import hashlib
import io
import json
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.load import dumpd, dumps
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from langchain_wan._media.decode import inspect
from langchain_wan._media.encode import encode_png
from langchain_wan._storage.blobs import MemoryBlobs
from langchain_wan._storage.ids import CROCKFORD, image_id
from langchain_wan._tool.arguments import WanImageInput
from langchain_wan.errors import StoreError
from langchain_wan.models import GeneratedImage, ImageFailure, ImageResult
from langchain_wan.requests import (
    MAX_N,
    MAX_PROMPT,
    MAX_REFERENCES,
    MAX_SEED,
    ImageRequest,
    InlineImage,
    describe_source,
    is_pil_image,
)
from langchain_wan.store import WanStore

URL = "https://cdn.example.com/a.png?Expires=1776500000&Signature=TOPSECRET"
PNG = encode_png(Image.new("RGB", (640, 480), "red"))
DATA_URI = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
PLAIN_ID = "img_0000000000000"


class Bytes:
    """A store of bytes, without a ledger."""

    def __init__(self, *contents: bytes) -> None:
        self.contents = {hashlib.sha256(content).hexdigest(): content for content in contents}

    def read(self, sha256: str) -> bytes | None:
        return self.contents.get(sha256)

    async def aread(self, sha256: str) -> bytes | None:
        await asyncio.sleep(0)
        return self.read(sha256)


def made(data: bytes = PNG, source: Bytes | None = None, url: str | None = URL, **facts: Any) -> GeneratedImage:
    """The image of some bytes."""
    picture, sha256 = inspect(data), hashlib.sha256(data).hexdigest()
    image = GeneratedImage(
        id=image_id(sha256),
        url=url,
        mime_type=picture.mime_type,
        width=picture.width,
        height=picture.height,
        size_bytes=len(data),
        sha256=sha256,
        **facts,
    )
    return image.attached(Bytes(data) if source is None else source)


def result(*images: GeneratedImage, **facts: Any) -> ImageResult:
    given_facts = {"model": "wan2.7-image", "prompt": "a fox", "cost_usd": Decimal("0.030"), "operation_id": "op-1"}
    return ImageResult(images=list(images) or [made()], **{**given_facts, **facts})


# Ids


@pytest.mark.parametrize(
    ("sha256", "expected"),
    [
        ("00" * 32, PLAIN_ID),
        ("ff" * 32, "img_zzzzzzzzzzzzz"),
        ("80" + "00" * 31, "img_g000000000000"),
        ("08" + "00" * 31, "img_1000000000000"),
        ("0000000000000000" + "80" + "00" * 23, "img_0000000000001"),
        ("0000000000000000" + "7f" + "ff" * 23, PLAIN_ID),
        (hashlib.sha256(b"").hexdigest(), "img_werc8gmrzge19"),
        (hashlib.sha256(b"abc").hexdigest(), "img_q9w1dfwf077ym"),
    ],
)
def test_an_id_is_the_first_65_bits_in_crockfords_base32(sha256: str, expected: str) -> None:
    assert image_id(sha256) == expected


@given(st.binary(max_size=50))
def test_an_id_agrees_with_the_digest_bit_by_bit(data: bytes) -> None:
    digest = hashlib.sha256(data)
    found = image_id(digest.hexdigest())
    assert re.fullmatch(r"img_[0-9a-hjkmnp-tv-z]{13}", found)
    bits = "".join(f"{CROCKFORD.index(char):05b}" for char in found.removeprefix("img_"))
    assert "".join(f"{byte:08b}" for byte in digest.digest()).startswith(bits)
    assert len(bits) == 65


def test_the_alphabet_is_crockfords() -> None:
    assert len(set(CROCKFORD)) == 32
    assert not set("ilou") & set(CROCKFORD)
    assert CROCKFORD == CROCKFORD.lower() == "".join(sorted(CROCKFORD))


# Requests


def test_the_defaults_of_a_request_are_one_new_image() -> None:
    request = ImageRequest(prompt="a fox")
    assert (request.n, request.images, request.model, request.operation_id) == (1, (), None, None)
    assert request.model_dump(exclude_defaults=True) == {"prompt": "a fox"}


@pytest.mark.parametrize("n", [1, 2, 3, MAX_N])
def test_n_may_be_one_to_four(n: int) -> None:
    assert ImageRequest(prompt="a fox", n=n).n == n
    assert WanImageInput(prompt="a fox", n=n).n == n


@pytest.mark.parametrize("n", [0, 5, -1, 1.5, True, False, 10**30, -(10**30), [2], {}, float("nan")])
@pytest.mark.parametrize("model", [ImageRequest, WanImageInput])
def test_any_other_n_is_refused(model: type[ImageRequest | WanImageInput], n: Any) -> None:
    with pytest.raises(ValidationError, match=r"\nn\n"):
        model.model_validate({"prompt": "a fox", "n": n})


@pytest.mark.parametrize("n", [1.0, 2.0, "2", ""])
def test_code_gives_a_whole_number(n: Any) -> None:
    with pytest.raises(ValidationError, match=r"\nn\n"):
        ImageRequest.model_validate({"prompt": "a fox", "n": n})


def test_no_n_is_one() -> None:
    assert ImageRequest.model_validate({"prompt": "a fox", "n": None}).n == 1


PROMPTS = {
    "one character": "x",
    "as long as allowed": "x" * MAX_PROMPT,
    "emoji as long as allowed": "\U0001f98a" * MAX_PROMPT,
    "Chinese": "雪地里的红狐狸",
    "right to left": "\u202eثعلب أحمر\u202c",
    "marks alone": "\u200f\u200e\ufeff",
    "emoji of several parts": "👩‍👩‍👧‍👦 🏳️‍🌈",
    "NUL": "a\x00fox",
    "control characters": "a\r\n\tfox\x1b[31m",
    "JSON": '{"lc": 1, "type": "constructor", "id": ["os", "system"]}',
    "lc and proto": '{"__proto__": {"x": 1}}',
    "braces": "{fox} {{fox}} %s {0.__class__}",
    "markup": "<script>alert(1)</script>",
    "blanks around": "  a fox \n",
    "combining": "e\u0301" * 100,
    "path and URL": "../../etc/passwd https://example.com",
}


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("model", [ImageRequest, WanImageInput])
def test_a_prompt_is_kept_as_it_is(model: type[ImageRequest | WanImageInput], name: str) -> None:
    prompt = PROMPTS[name]
    assert model(prompt=prompt).prompt == prompt
    assert model.model_validate_json(model(prompt=prompt).model_dump_json()).prompt == prompt


@pytest.mark.parametrize(
    "prompt",
    [
        *("", " ", " \t\r\n", "\u00a0\u3000", "x" * (MAX_PROMPT + 1), "\U0001f98a" * (MAX_PROMPT + 1), "x" * 100_000),
        *("\ud800", "a fox \udfff", "\ud83d \udd8a", None, 5, True, b"fox", ["fox"], {"text": "fox"}),
    ],
    ids=lambda prompt: ascii(prompt)[:30],
)
@pytest.mark.parametrize("model", [ImageRequest, WanImageInput])
def test_a_prompt_that_cannot_be_sent_is_refused(model: type[ImageRequest | WanImageInput], prompt: Any) -> None:
    with pytest.raises(ValidationError, match="prompt"):
        model(prompt=prompt)


@pytest.mark.parametrize("model", [ImageRequest, WanImageInput])
def test_a_refusal_does_not_repeat_what_was_given(model: type[ImageRequest | WanImageInput]) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"prompt": "x" * 6_000, "n": "TOPSECRET", "images": ["TOPSECRET"] * 10})
    assert "TOPSECRET" not in str(caught.value)
    assert "xxxx" not in str(caught.value)


@pytest.mark.parametrize("size", ["1K", "4K", "1280*720", "1280x720", "1280X720", "4096*4096", "16:9", "8:1", "2K 1:8"])
def test_a_size_is_a_tier_a_ratio_or_pixels(size: str) -> None:
    assert ImageRequest(prompt="a fox", size=size).size == size


@pytest.mark.parametrize(
    "size",
    [
        "",
        "3K",
        "1k",
        "HD",
        "1280",
        "1280*",
        "1280*720*3",
        "1280 * 720",
        "1280*720\n",
        "1280:720",
        "9:1",
        "1:9",
        "0:1",
        "16:0",
        "16:9 2K",
        "3K 16:9",
        "16:9\n",
        1280,
        "\uff11\uff12\uff18\uff10*\uff17\uff12\uff10",
    ],
)
def test_any_other_size_is_refused(size: Any) -> None:
    with pytest.raises(ValidationError, match="size"):
        ImageRequest(prompt="a fox", size=size)


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED])
def test_a_seed_is_a_whole_number_of_31_bits(seed: int) -> None:
    assert ImageRequest(prompt="a fox", seed=seed).seed == seed


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": -1},
        {"seed": MAX_SEED + 1},
        {"seed": 1.5},
        {"seed": "7"},
        {"seed": True},
        {"watermark": "yes"},
        {"watermark": 1},
        {"thinking_mode": 0},
        {"negative_prompt": "x" * 501},
        {"negative_prompt": 5},
        {"model": ""},
        {"model": 5},
        {"model": "x" * 201},
        {"operation_id": ""},
        {"operation_id": "x" * 201},
        {"metadata": {"user": 5}},
        {"metadata": {5: "user"}},
        {"metadata": "user"},
        {"extra_body": {"model": "x"}},
        {"extra_body": {"messages": []}},
        {"extra_body": {"n": 4}},
        {"extra_body": {"stream": True}},
        {"extra_body": []},
        {"promt": "a misspelt field"},
        {"width": 100},
    ],
    ids=str,
)
def test_a_field_that_breaks_a_rule_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImageRequest.model_validate({"prompt": "a fox", **fields})


def test_a_request_is_a_value_that_nobody_changes() -> None:
    request = ImageRequest(prompt="a fox")
    with pytest.raises(ValidationError):
        request.n = 4


# Input images


SOURCES: dict[str, Any] = {
    "id": PLAIN_ID,
    "upload": "upload_1",
    "URL": URL,
    "data URI": DATA_URI,
    "bytes": PNG,
    "bytearray": bytearray(PNG),
    "memoryview": memoryview(PNG),
    "Path": Path("fox.png"),
    "Pillow image": Image.new("RGB", (4, 4)),
    "GeneratedImage": made(),
    "URL block": {"type": "image_url", "image_url": {"url": URL}},
    "base64 block": {"type": "image", "base64": DATA_URI.partition(",")[2], "mime_type": "image/png"},
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_form_of_an_image_is_accepted(name: str) -> None:
    request = ImageRequest(prompt="edit", images=(SOURCES[name], PLAIN_ID))
    assert len(request.images) == 2
    assert request.images[1] == PLAIN_ID


@pytest.mark.parametrize("name", SOURCES)
def test_one_image_is_a_list_of_one(name: str) -> None:
    request = ImageRequest.model_validate({"prompt": "edit", "images": SOURCES[name]})
    assert len(request.images) == 1


def test_a_list_of_images_is_accepted_and_none_is_an_empty_one() -> None:
    assert ImageRequest.model_validate({"prompt": "edit", "images": [PLAIN_ID, URL]}).images == (PLAIN_ID, URL)
    assert ImageRequest.model_validate({"prompt": "new", "images": None}).images == ()


@pytest.mark.parametrize("count", [MAX_REFERENCES + 1, 50])
def test_more_than_nine_images_are_refused(count: int) -> None:
    assert len(ImageRequest(prompt="combine", images=(PLAIN_ID,) * MAX_REFERENCES).images) == 9
    with pytest.raises(ValidationError, match="images"):
        ImageRequest(prompt="combine", images=(PLAIN_ID,) * count)


@pytest.mark.parametrize(
    "image",
    [
        None,
        5,
        2.5,
        True,
        object(),
        {},
        {"type": "text", "text": "fox"},
        {"type": "image", "file_id": "file-1"},
        {"url": URL},
        {1, 2},
        [PLAIN_ID],
        io.BytesIO(PNG),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(ValidationError, match="images"):
        ImageRequest(prompt="edit", images=(image,))


BYTES_MARK = base64.b64encode(PNG).decode()[40:80]


@pytest.mark.parametrize("name", SOURCES)
def test_bytes_never_stand_in_the_repr_a_dump_or_a_trace(name: str) -> None:
    request = ImageRequest(prompt="edit", images=(SOURCES[name],))
    shown = [repr(request), str(request), str(request.model_dump()), request.model_dump_json(), dumps(dumpd(request))]
    for text in shown:
        assert BYTES_MARK not in text
        assert repr(PNG)[20:60] not in text
        assert len(text) < 2_000


def test_given_bytes_are_shown_as_digest_and_size() -> None:
    (shown,) = ImageRequest(prompt="edit", images=(PNG,)).model_dump()["images"]
    assert repr(shown) == f"<{len(PNG):,} bytes, sha256 {hashlib.sha256(PNG).hexdigest()[:16]}>"


def test_equal_bytes_are_equal_images() -> None:
    assert InlineImage(PNG) == InlineImage(bytes(PNG))
    assert hash(InlineImage(PNG)) == hash(InlineImage(bytes(PNG)))
    assert InlineImage(PNG) != InlineImage(PNG + b"x")
    assert InlineImage(PNG) != PNG
    assert ImageRequest(prompt="edit", images=(PNG,)) == ImageRequest(prompt="edit", images=(PNG,))


def test_an_image_is_named_in_a_few_characters() -> None:
    assert describe_source(PLAIN_ID) == PLAIN_ID
    assert describe_source(made()) == made().id
    assert describe_source(Path("/home/jane/fox.png")) == "<file fox.png>"
    assert describe_source(Image.new("L", (4, 5))) == "<PIL image L 4x5>"


def test_a_pillow_image_is_known_without_importing_pillow() -> None:
    assert is_pil_image(Image.new("L", (1, 1)))
    assert not is_pil_image("PIL.Image")


def test_a_request_survives_pickle_and_copy() -> None:
    request = ImageRequest(prompt="edit", images=(PNG, PLAIN_ID, DATA_URI, Path("fox.png")), n=2, metadata={"a": "b"})
    for other in (pickle.loads(pickle.dumps(request)), copy.deepcopy(request)):  # noqa: S301  our own bytes
        assert other == request


# Images


def test_bytes_come_from_the_store() -> None:
    image = made()
    assert image.read() == PNG
    assert asyncio.run(image.aread()) == PNG


def test_bytes_that_are_gone_are_a_store_error_that_names_the_image() -> None:
    image = made(source=Bytes())
    for read in (image.read, lambda: asyncio.run(image.aread()), image.to_pil, image.content_block):
        with pytest.raises(StoreError, match=image.id):
            read()


def test_base64_and_data_uri_are_the_bytes() -> None:
    image = made()
    assert base64.b64decode(image.base64) == PNG
    assert image.data_uri == DATA_URI


def test_an_image_is_shown_as_pillow_thumbnail_and_block() -> None:
    image = made()
    assert image.to_pil().size == (640, 480)
    assert inspect(image.thumbnail(64)).width == 64
    assert inspect(image.thumbnail()).width == 512
    assert image.content_block() == {"type": "image", "base64": image.base64, "mime_type": "image/png"}
    small = image.content_block(100)
    assert small["type"] == "image"
    assert small["mime_type"] == inspect(base64.b64decode(small["base64"])).mime_type == "image/jpeg"
    assert inspect(base64.b64decode(small["base64"])).width == 100


def test_a_notebook_shows_a_thumbnail_or_nothing() -> None:
    shown = made()._repr_png_()
    assert shown is not None
    assert inspect(shown).width == 512
    assert made(source=Bytes())._repr_png_() is None


def test_the_query_of_a_url_is_cut_from_the_repr_and_kept_in_a_dump() -> None:
    image = made()
    for text in (repr(image), str(image), repr([image]), repr(result(image)), f"{image}"):
        assert "TOPSECRET" not in text
        assert "https://cdn.example.com/a.png" in text
    assert image.model_dump()["url"] == URL
    assert json.loads(image.model_dump_json())["url"] == URL


def test_the_query_of_a_callers_url_is_cut_from_the_repr_of_a_request() -> None:
    assert "TOPSECRET" not in repr(ImageRequest(prompt="edit", images=(URL,)))


def test_bytes_are_no_part_of_a_dump_a_repr_or_a_pickle() -> None:
    image = made()
    for text in (repr(image), str(image.model_dump()), image.model_dump_json(), repr(pickle.dumps(image))):
        assert BYTES_MARK not in text
        assert repr(PNG)[20:60] not in text
    assert set(image.model_dump()) == {
        *("id", "url", "expires_at", "mime_type", "width", "height", "size_bytes", "sha256"),
    }


def test_an_image_survives_json_and_finds_its_bytes_in_the_store_it_is_given() -> None:
    image = made(expires_at=datetime(2026, 4, 23, tzinfo=UTC))
    other = GeneratedImage.model_validate_json(image.model_dump_json())
    assert other.model_dump() == image.model_dump()
    assert other.attached(Bytes(PNG)).read() == PNG


def test_images_with_equal_facts_are_equal_wherever_their_bytes_are() -> None:
    assert made() == made(source=Bytes()) == GeneratedImage.model_validate(made().model_dump())
    assert made() != made(encode_png(Image.new("RGB", (8, 8), "blue")))
    assert made() != made().id
    assert result() != made()


def test_a_pickled_image_looks_in_the_default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WanStore, "_default", None)
    image = pickle.loads(pickle.dumps(made()))  # noqa: S301  our own bytes
    with pytest.raises(StoreError):
        image.read()
    kept = WanStore.default().add(PNG)
    assert kept.id == image.id
    assert image.read() == PNG


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda image: image.model_copy(deep=True)])
def test_a_copy_keeps_its_bytes_in_memory_as_the_image_itself_does(copied: Any) -> None:
    store = WanStore()
    store._storage._parts.blobs = MemoryBlobs(cap=len(PNG))
    twin = copied(store.add(PNG))
    gc.collect()
    with pytest.warns(UserWarning, match="oldest images are dropped"):
        store.add(encode_png(Image.effect_noise((300, 300), 50)))
    assert twin.read() == PNG


def test_a_field_of_a_later_version_does_no_harm() -> None:
    facts = {**made().model_dump(mode="json"), "base64": "iVBOR", "hue": "red"}
    assert GeneratedImage.model_validate(facts).model_dump() == made().model_dump()


@pytest.mark.parametrize(
    "facts",
    [
        {"id": "../../evil"},
        {"id": "/tmp/evil"},  # noqa: S108  a path that has to be refused
        {"id": "img_"},
        {"id": "img_ilouilouilou1"},
        {"id": "IMG_0000000000000"},
        {"id": f"{PLAIN_ID}\n"},
        {"sha256": "../../evil"},
        {"sha256": "/etc/passwd"},
        {"sha256": ""},
        {"sha256": "00" * 31},
        {"sha256": "zz" * 32},
    ],
    ids=str,
)
def test_an_id_or_a_digest_that_is_none_is_refused(facts: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        GeneratedImage.model_validate({**made().model_dump(), **facts})


# Saving


def test_an_image_is_saved_under_the_name_that_is_given(tmp_path: Path) -> None:
    for name in (tmp_path / "fox.png", str(tmp_path / "fox2.png")):
        path = made().save(name)
        assert path == Path(name)
        assert path.read_bytes() == PNG
    assert asyncio.run(made().asave(tmp_path / "fox3.png")).read_bytes() == PNG


@pytest.mark.parametrize(("kind", "extension"), [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp")])
def test_in_a_folder_an_image_is_named_by_its_id(tmp_path: Path, kind: str, extension: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (300, 300), "blue").save(out, kind)
    image = made(out.getvalue())
    assert image.save(tmp_path) == tmp_path / f"{image.id}{extension}"
    assert asyncio.run(image.asave(str(tmp_path))).read_bytes() == out.getvalue()


async def test_an_image_is_saved_while_the_default_threads_are_full_of_waiting_tools(tmp_path: Path) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asyncio.get_running_loop().set_default_executor(pool)
        blocked = asyncio.create_task(asyncio.to_thread(stop.wait, 5))
        await asyncio.sleep(0)
        try:
            path = await asyncio.wait_for(made().asave(tmp_path / "fox.png"), 2)
        finally:
            stop.set()
            await blocked
    assert path.read_bytes() == PNG


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    assert made().save(tmp_path / "missing" / "fox.png").is_file()


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP"), ("a.png", "PNG")]
)
def test_a_name_that_ends_with_another_type_gets_that_type(name: str, kind: str, tmp_path: Path) -> None:
    with Image.open(made().save(tmp_path / name)) as image:
        assert image.format == kind


def test_a_name_with_no_or_a_foreign_ending_gets_the_bytes_as_they_are(tmp_path: Path) -> None:
    for name in ("fox", "fox.bin"):
        assert made().save(tmp_path / name).read_bytes() == made().read()


def test_an_image_of_a_posted_artifact_is_never_saved_outside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    facts = {**result().model_dump(mode="json"), "images": [{**made().model_dump(mode="json"), "id": "../evil"}]}
    try:
        image = ImageResult.from_message(answer(facts), Bytes(PNG)).images[0]
    except ValueError:
        return
    image.save(folder)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("absolute", [True, False])
def test_an_image_of_a_posted_artifact_reads_and_moves_no_file_of_the_system(tmp_path: Path, absolute: bool) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("keep me")
    (tmp_path / "store" / "blobs").mkdir(parents=True)
    digest = str(precious) if absolute else "../precious.txt"
    facts = {**result().model_dump(mode="json"), "images": [{**made().model_dump(mode="json"), "sha256": digest}]}
    with pytest.raises((ValueError, StoreError)):
        ImageResult.from_message(answer(facts), WanStore(tmp_path / "store")).images[0].read()
    assert precious.read_text() == "keep me"


# A result as a sequence of its images


def pair() -> tuple[GeneratedImage, GeneratedImage]:
    return made(), made(encode_png(Image.new("RGB", (8, 8), "blue")))


def test_a_result_is_a_sequence_of_its_images() -> None:
    first, second = pair()
    both = result(first, second)
    assert [*both] == [first, second]
    assert len(both) == 2
    assert both[0] is first
    assert both[-1] is second
    assert both[1:] == [second]
    with pytest.raises(IndexError):
        both[2]


def test_a_result_without_images_is_empty_and_true_because_it_says_what_was_billed() -> None:
    nothing = ImageResult(
        images=[],
        failures=[ImageFailure(index=0, reason="HTTP 500", retryable=True)],
        model="wan2.7-image",
        prompt="a fox",
        cost_usd=Decimal("0.030"),
        operation_id="op-1",
    )
    assert len(nothing) == 0
    assert [*nothing] == []
    assert bool(nothing) is True
    assert str(nothing) == "0 images by wan2.7-image, $0.03; 1 not downloaded"


def test_a_result_as_text_is_one_short_line_without_prompt_or_url() -> None:
    first, second = pair()
    text = str(result(first, second, prompt="a fox " * 800, usage={"tokens": list(range(900))}))
    assert text == f"2 images by wan2.7-image, $0.03: {first.id} 640x480, {second.id} 8x8"
    assert f"{result(first)}" == f"1 image by wan2.7-image, $0.03: {first.id} 640x480"


@pytest.mark.parametrize("existing", [True, False])
def test_a_result_saves_each_image_by_its_id(tmp_path: Path, existing: bool) -> None:
    both, folder = result(*pair()), tmp_path / "new" / "images"
    if existing:
        folder.mkdir(parents=True)
    for save in (both.save, lambda path: asyncio.run(both.asave(path))):
        files = save(folder)
        assert files == [folder / f"{image.id}.png" for image in both]
        assert [file.read_bytes() for file in files] == [image.read() for image in both]
    assert both.save(str(folder)) == files


def test_a_result_says_which_image_it_can_not_save(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=made().id):
        result(made(source=Bytes())).save(tmp_path)


def test_a_result_that_was_read_from_json_finds_its_bytes_in_a_store(tmp_path: Path) -> None:
    store = WanStore(tmp_path)
    before = result(store.add(PNG))
    after = ImageResult.model_validate_json(before.model_dump_json())
    assert after.attach(store) is after
    assert after[0].read() == PNG


def test_a_result_is_json_for_every_encoder_that_asks_pydantic() -> None:
    both = result(*pair(), usage={"tokens": 3}, metadata={"user": "u-1"})
    expected = both.model_dump(mode="json")
    assert json.loads(json.dumps(both.model_dump())) == expected
    assert json.loads(json.dumps([both], default=to_jsonable_python)) == [expected]
    assert json.loads(TypeAdapter(dict[str, Any]).dump_json({"output": both})) == {"output": expected}
    assert TypeAdapter(Any).dump_python([both], mode="json") == [expected]


def test_a_result_can_be_the_input_images_of_a_request() -> None:
    first, second = pair()
    request = ImageRequest.model_validate({"prompt": "side by side", "images": result(first, second)})
    assert request.images == (first, second)


# Editing


def test_an_image_makes_the_request_that_edits_it() -> None:
    image = made()
    request = image.edit("make it night", n=2, seed=7, model="wan2.7-image-pro")
    assert request.images == (image,)
    assert request.images[0] is image
    assert (request.prompt, request.n, request.seed, request.model) == ("make it night", 2, 7, "wan2.7-image-pro")


def test_a_result_makes_the_request_that_edits_one_of_its_images() -> None:
    first, second = made(), made(encode_png(Image.new("RGB", (8, 8), "blue")))
    both = result(first, second)
    assert both.edit("night").images == (first,)
    assert both.edit("night", index=1, n=3).images == (second,)
    assert both.edit("night", index=-1).n == 1
    with pytest.raises(IndexError):
        both.edit("night", index=2)


def test_a_result_makes_the_request_that_combines_all_of_its_images() -> None:
    first, second = made(), made(encode_png(Image.new("RGB", (8, 8), "blue")))
    request = result(first, second).combine("both in one picture", size="2K")
    assert request.images == (first, second)
    assert (request.prompt, request.size) == ("both in one picture", "2K")


def test_a_misspelt_parameter_of_an_edit_is_refused() -> None:
    with pytest.raises(ValidationError):
        made().edit("night", sead=7)


# What a language model reads


def described(**facts: Any) -> ImageResult:
    images = [
        GeneratedImage(id=name, url=url, mime_type="image/png", width=1024, height=1024, size_bytes=9, sha256="00" * 32)
        for name, url in (("img_k3v9x2abq7m1t", "https://cdn/a.png?x=1"), ("img_p0q8r7stw4n2z", None))
    ]
    return result(*images, **{"cost_usd": Decimal("0.060"), **facts})


def test_the_description_is_the_documented_one() -> None:
    assert described().describe() == (
        "2 images by wan2.7-image, $0.06.\n"
        "img_k3v9x2abq7m1t 1024x1024 https://cdn/a.png?x=1\n"
        "img_p0q8r7stw4n2z 1024x1024\n"
        "To edit or combine images, call again with their ids in `images`."
    )


def test_urls_and_cost_can_be_left_out() -> None:
    assert described().describe(url=False, cost=False) == (
        "2 images by wan2.7-image.\n"
        "img_k3v9x2abq7m1t 1024x1024\n"
        "img_p0q8r7stw4n2z 1024x1024\n"
        "To edit or combine images, call again with their ids in `images`."
    )


def test_one_image_is_no_plural() -> None:
    assert result().describe().startswith("1 image by wan2.7-image, $0.03.\n")


@pytest.mark.parametrize(
    ("cost", "shown"),
    [
        ("0.060", "$0.06."),
        ("0.075", "$0.075."),
        ("0.30", "$0.30."),
        ("100", "$100.00."),
        ("0", "$0.00."),
        ("1E+2", "$100.00."),
    ],
)
def test_a_cost_is_written_without_exponent_or_idle_noughts(cost: str, shown: str) -> None:
    assert result(cost_usd=Decimal(cost)).describe().splitlines()[0].endswith(shown)


def test_images_that_were_paid_and_did_not_come_are_told() -> None:
    failures = [ImageFailure(index=1, reason="HTTP 500", retryable=True)]
    text = result(failures=failures).describe()
    assert "1 more made and charged, but not downloaded yet." in text
    assert "HTTP 500" not in text


def test_base64_never_stands_in_the_description() -> None:
    image = made(url=None)
    assert image.base64[:40] not in result(image).describe()
    assert len(result(image).describe()) < 200


# Messages


def answer(artifact: Any) -> ToolMessage:
    return ToolMessage("2 images", tool_call_id="call_0", artifact=artifact)


def test_a_message_shows_the_images_to_a_vision_model() -> None:
    image = made()
    message = result(image).to_message()
    assert isinstance(message, HumanMessage)
    text, block = message.content_blocks
    assert text == {"type": "text", "text": image.id}
    assert block["type"] == "image"
    assert block == image.content_block(1024)
    small = result(image).to_message("Which is better?", max_side=100).content
    assert small[0] == {"type": "text", "text": "Which is better?"}
    assert small[1] == image.content_block(100)


def test_a_message_with_a_file_of_the_full_size_is_not_sent_by_accident() -> None:
    big = made(encode_png(Image.effect_noise((2_000, 1_000), 50)))
    (_, block) = result(big).to_message().content_blocks
    assert inspect(base64.b64decode(block["base64"])).width == 1_024  # type: ignore[typeddict-item]  # an image block


def test_a_result_is_read_back_from_a_tool_message() -> None:
    before = result(metadata={"user": "u-1"}, parents=[PLAIN_ID], notes=["hint"], request_id="req-1")
    after = ImageResult.from_message(answer(before.model_dump(mode="json")), Bytes(PNG))
    assert after.model_dump() == before.model_dump()
    assert after.images[0].read() == PNG


def test_a_result_read_back_without_a_store_uses_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WanStore, "_default", None)
    WanStore.default().add(PNG)
    assert ImageResult.from_message(answer(result().model_dump(mode="json"))).images[0].read() == PNG


@pytest.mark.parametrize(
    "artifact", [None, "text", 5, [], {}, {"error": {"type": "RateLimitError"}}, {"images": None}, {"images": [{}]}]
)
def test_a_message_without_a_result_is_a_value_error(artifact: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  pydantic's own, or ours
        ImageResult.from_message(answer(artifact))


def test_another_kind_of_message_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no image result"):
        ImageResult.from_message(AIMessage("hello"))  # type: ignore[arg-type]  # the point of the test


# Results as JSON


def test_a_result_survives_json() -> None:
    before = result(
        made(expires_at=datetime(2026, 4, 23, tzinfo=UTC)),
        failures=[ImageFailure(index=1, reason="HTTP 500", retryable=True)],
        usage={"prompt_tokens": 104},
        request_id="req-1",
        metadata={"user": "u-1"},
        parents=[PLAIN_ID],
        replayed=True,
        notes=["hint"],
    )
    as_json = json.loads(json.dumps(before.model_dump(mode="json")))
    assert ImageResult.model_validate(as_json).model_dump() == before.model_dump()
    assert ImageResult.model_validate_json(before.model_dump_json()).model_dump() == before.model_dump()


def test_a_cost_is_a_string_in_json_and_exact() -> None:
    as_json = result(cost_usd=Decimal("0.30")).model_dump(mode="json")
    assert as_json["cost_usd"] == "0.30"
    assert ImageResult.model_validate(as_json).cost_usd == Decimal("0.30")


def test_a_result_says_when_it_was_made_in_utc() -> None:
    created = result().created_at
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)


def test_a_result_survives_pickle_and_copy() -> None:
    before = result(metadata={"user": "u-1"})
    for other in (pickle.loads(pickle.dumps(before)), copy.deepcopy(before)):  # noqa: S301  our own bytes
        assert other.model_dump() == before.model_dump()
    assert copy.deepcopy(before).images[0].read() == PNG


def test_strange_texts_stay_text_in_a_result() -> None:
    for prompt in PROMPTS.values():
        before = result(prompt=prompt, metadata={"lc": prompt[:50]}, notes=[prompt])
        after = ImageResult.model_validate_json(before.model_dump_json())
        assert (after.prompt, after.metadata, after.notes) == (prompt, {"lc": prompt[:50]}, [prompt])


# Notebooks


def test_a_notebook_shows_a_gallery_without_scripts_or_foreign_markup() -> None:
    hostile = "<script>alert(1)</script>\"' onerror=alert(1)"
    shown = result(prompt=hostile, model=f"wan{hostile}")._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert '"' + "' onerror" not in shown
    assert made().id in shown
    assert "640x480" in shown
    assert "data:image/jpeg;base64," in shown
    assert "$0.03" in shown


def test_a_notebook_never_shows_a_url() -> None:
    assert "TOPSECRET" not in result()._repr_html_()
    assert "https://" not in result()._repr_html_()


def test_a_gallery_shows_a_place_for_images_whose_bytes_are_gone() -> None:
    shown = result(made(source=Bytes()))._repr_html_()
    assert "<img" not in shown
    assert made().id in shown


# The schema that a language model sees


def test_the_schema_is_short() -> None:
    schema = WanImageInput.model_json_schema()
    assert len(json.dumps(schema)) < 900
    assert set(schema["properties"]) == {"prompt", "images", "n", "model"}
    assert schema["required"] == ["prompt"]
    assert schema["additionalProperties"] is False


def test_the_schema_states_the_limits() -> None:
    properties = WanImageInput.model_json_schema()["properties"]
    assert (properties["n"]["minimum"], properties["n"]["maximum"]) == (1, MAX_N)
    assert properties["images"]["maxItems"] == MAX_REFERENCES
    assert f"at most {MAX_PROMPT} characters" in properties["prompt"]["description"]
    assert properties["model"]["enum"] == ["wan2.7-image", "wan2.7-image-pro"]
    assert all(properties[name]["description"] for name in properties)


def test_the_schema_names_nothing_of_ours() -> None:
    text = json.dumps(WanImageInput.model_json_schema())
    assert not any(word in text for word in ("runtime", "operation_id", "$ref", "$defs", "http"))


def test_the_defaults_of_the_schema_are_a_new_image() -> None:
    given_input = WanImageInput(prompt="a fox")
    assert (list(given_input.images), given_input.n, given_input.model) == ([], 1, "wan2.7-image")


def test_one_id_stands_for_a_list_of_one() -> None:
    assert list(WanImageInput.model_validate({"prompt": "a fox", "images": PLAIN_ID}).images) == [PLAIN_ID]


@pytest.mark.parametrize(
    "fields",
    [
        {"images": [5]},
        {"images": [PLAIN_ID] * 10},
        {"model": "dall-e-3"},
        {"size": "2K"},
    ],
    ids=str,
)
def test_a_model_that_breaks_the_schema_is_told(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WanImageInput.model_validate({"prompt": "a fox", **fields})


# Any request


NAMES = st.sampled_from((PLAIN_ID, "upload_1", URL, PNG, DATA_URI, Path("fox.png")))


@given(
    prompt=st.text(min_size=1, max_size=60).filter(lambda text: bool(text.strip())),
    images=st.lists(NAMES, max_size=MAX_REFERENCES).map(tuple),
    n=st.integers(1, MAX_N),
    seed=st.none() | st.integers(0, MAX_SEED),
    metadata=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)
def test_any_valid_request_can_be_dumped_and_read_again(
    prompt: str, images: tuple[Any, ...], n: int, seed: int | None, metadata: dict[str, str]
) -> None:
    request = ImageRequest(prompt=prompt, images=images, n=n, seed=seed, metadata=metadata)
    assert request.model_copy() == request
    assert ImageRequest.model_validate(request.model_dump()) == request
    if any(image in images for image in (PNG, DATA_URI, Path("fox.png"))):  # JSON keeps a description of these only
        with pytest.raises(ValidationError, match="only describes an image"):
            ImageRequest.model_validate_json(request.model_dump_json())
        return
    again = ImageRequest.model_validate_json(request.model_dump_json())
    assert (again.prompt, again.n, again.seed, again.metadata) == (prompt, n, seed, metadata)
    assert len(again.images) == len(images)
