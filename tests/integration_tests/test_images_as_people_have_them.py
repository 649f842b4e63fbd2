"""Each kind of image file that people have, in each form in which they hand it over: a table, through public names."""

from __future__ import annotations

import base64
import io
import re
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from PIL import Image, ImageCms, ImageOps

from langchain_wan import ImageRequest, ImageResult, WanConfigurationError, WanImageTool, WanStore, errors
from langchain_wan.middleware import WanImageMiddleware
from tests.support.conversations import attached
from tests.support.corpus.judge import on_white
from tests.support.corpus.made import (
    CORNERS,
    HAS_AVIF,
    MONITOR,
    PROFILES,
    SECRET,
    SRGB_COLUMNS,
    all_made,
    cmyk_profile,
    exif,
    grey_profile,
    matrix_profile,
    quarters,
    see_corners,
)
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import encode, in_base64, png, rgba_png, to_data_uri
from tests.support.processes import run_program
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access, build_client

FAR = 14  # levels that JPEG and rounding may move a flat colour
Corners = tuple[tuple[int, ...], ...]


@dataclass
class Seen:
    """What became of a file: the images by where somebody sees them, and what was said about it."""

    images: dict[str, bytes] = field(default_factory=dict)
    refusal: str = ""
    adjustments: list[str] = field(default_factory=list)


def look(data: bytes) -> Image.Image:
    """What a viewer shows: upright, with its profile applied, on white."""
    with Image.open(io.BytesIO(data)) as image:
        upright, profile = ImageOps.exif_transpose(image), image.info.get("icc_profile")
    if profile and upright.mode != "P":
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        shown = ImageCms.profileToProfile(upright, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert shown is not None
        upright = shown
    return on_white(upright)


# The forms. Each makes a paid call with the file; what is seen is what the server received or what the caller gets.


def _send(source: Any) -> Seen:
    with FaultServer() as server:
        try:
            result = build_client(server, store=WanStore()).generate(ImageRequest(prompt="x", images=(source,)))
        except errors.ImageReferenceError as error:
            assert server.posts == []
            return Seen(refusal=str(error))
        return Seen({"sent": _received(server)}, adjustments=list(result.adjustments))


def _received(server: FaultServer) -> bytes:
    (uri,) = [
        part["image_url"]["url"] for part in server.posts[0].json["messages"][0]["content"] if "image_url" in part
    ]
    return base64.b64decode(uri.partition(",")[2])


def as_path(data: bytes, folder: Path) -> Seen:
    path = folder / "photo.bin"
    path.write_bytes(data)
    seen = _send(path)
    assert not seen.refusal or path.name in seen.refusal
    return seen


def as_bytes(data: bytes, folder: Path) -> Seen:
    return _send(data)


def as_data_uri(data: bytes, folder: Path) -> Seen:
    return _send(to_data_uri(data))


def as_pillow_object(data: bytes, folder: Path) -> Seen:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own about the file
        return _send(Image.open(io.BytesIO(data)))


def as_attachment(data: bytes, folder: Path) -> Seen:
    return _attach(attached(data))


def _attach(said: HumanMessage) -> Seen:
    """Attached to a chat, and used by the model in one turn; the next turn goes on whatever it is."""
    with FaultServer() as server:
        tool = WanImageTool(**access(server, store=WanStore()))
        edit = calls({"prompt": "x", "images": ["upload_1"]})
        script = [edit, AIMessage("Done."), calls({"prompt": "a fox"}), AIMessage("A fox.")]
        agent = create_agent(ScriptedChatModel(script=script), [tool], middleware=[WanImageMiddleware()])
        done = agent.invoke({"messages": [said]})
        done = agent.invoke({"messages": [*done["messages"], HumanMessage("Then a fox.")]})
        first, second = [message for message in done["messages"] if isinstance(message, ToolMessage)]
        assert second.status == "success"
        if first.status == "error":
            assert "upload_1" in str(first.content)
            return Seen(refusal=str(first.content))
        adjustments = list(ImageResult.from_message(first, tool.store).adjustments)
        return Seen({"sent": _received(server)}, adjustments=adjustments)


def as_result(data: bytes, folder: Path) -> Seen:
    """One of two results; the other arrives in any case."""
    with FaultServer(reply(200, answer(in_base64(data), in_base64(png())))) as server:
        result = build_client(server, store=WanStore()).generate(ImageRequest(prompt="x", n=2))
    assert result.images[-1].read() == png()
    assert "<img" in result._repr_html_()
    assert result.to_message().content
    if result.failures:
        return Seen(refusal=result.failures[0].reason)
    image = result.images[0]
    try:
        shown = encode(image.to_pil())
    except errors.StoreError as error:
        assert result._repr_html_().count("<img") == 1
        return Seen(refusal=str(error))
    blocks = {f"block {side}": base64.b64decode(image.content_block(side)["base64"]) for side in (None, 200)}
    saved = {ending: image.save(folder / f"saved{ending}").read_bytes() for ending in (".jpg", ".bmp", ".png")}
    # A file that has the ending already is the person's own copy, as it came.
    return Seen({"to_pil": shown, **blocks, **{name: look for name, look in saved.items() if look != data}})


def as_result_in_a_chat(data: bytes, folder: Path) -> Seen:
    """A result that the model is shown; the next turn goes on whatever it is."""
    with FaultServer(reply(200, answer(in_base64(data), in_base64(png())))) as server:
        tool = WanImageTool(**access(server, store=WanStore()))
        model = ScriptedChatModel(script=[calls({"prompt": "x"}), AIMessage("Done."), AIMessage("Fine.")])
        agent = create_agent(model, [tool], middleware=[WanImageMiddleware()])
        done = agent.invoke({"messages": [HumanMessage("A fox.")]})
        agent.invoke({"messages": [*done["messages"], HumanMessage("Thanks.")]})
    blocks = [block for message in model.received[1] if isinstance(message.content, list) for block in message.content]
    shown = [base64.b64decode(block["base64"]) for block in blocks if isinstance(block, dict) and "base64" in block]
    odd = [image for image in shown if not _are_close(see_corners(look(image)), see_corners(look(png())))]
    assert len(shown) == 1 + len(odd)
    return Seen({"shown": odd[0]} if odd else {})


FORMS: dict[str, Callable[[bytes, Path], Seen]] = {
    "Path": as_path,
    "bytes": as_bytes,
    "data URI": as_data_uri,
    "Pillow object": as_pillow_object,
    "attachment": as_attachment,
    "result": as_result,
    "result in a chat": as_result_in_a_chat,
}
INPUTS = tuple(form for form in FORMS if "result" not in form)
FILES = tuple(form for form in FORMS if form != "Pillow object")  # Pillow does not open it, or knows another file


# The table


@dataclass(frozen=True)
class Row:
    """A kind of file and what becomes of it.

    Attributes:
        corners: The colours in which it is seen; None where only that it is seen counts.
        refused: What a refusal says; it is refused if there is one.
        forms: Those that exist.
    """

    name: str
    make: Callable[[], bytes]
    corners: Corners | None = CORNERS
    refused: str = ""
    forms: tuple[str, ...] = tuple(FORMS)
    enlarged: bool = False


MADE = {made.name: made for made in all_made()}


def made(row: str, *names: str, forms: tuple[str, ...] = tuple(FORMS), **more: Any) -> Iterator[Row]:
    """Rows of files that the corpus makes."""
    for name in names:
        file = MADE[name]
        yield Row(f"{row}: {name}", file.make, **{"corners": file.corners, "forms": forms, **more})


def convert(mode: str, profile: bytes) -> Corners:
    """The colours of an image with a profile, as colour management shows them."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    # LittleCMS's own sRGB has another black than the ink of a printer.
    target = ImageCms.ImageCmsProfile(io.BytesIO(matrix_profile(SRGB_COLUMNS, 2.2)))
    shown = ImageCms.profileToProfile(quarters().convert(mode), source, target, outputMode="RGB")
    assert shown is not None
    return see_corners(shown)


def profiled() -> Iterator[Row]:
    profiles: dict[str, tuple[str, bytes]] = {
        "Display P3": ("RGB", PROFILES["Display P3"]()),
        "Adobe RGB": ("RGB", PROFILES["Adobe RGB"]()),
        "grey": ("L", grey_profile(1.0)),
        "CMYK": ("CMYK", cmyk_profile()),
    }
    for name, (mode, profile) in profiles.items():
        corners = convert(mode, profile)
        for kind in ("JPEG",) if mode == "CMYK" else ("JPEG", "PNG"):
            for notes in ({}, {"exif": exif()}):  # with which it can't be sent as it is
                picture = quarters(2_600, 400).convert(mode)
                options: dict[str, Any] = {"quality": 95, **notes} if kind == "JPEG" else notes
                yield Row(
                    f"profile: {name}, {kind}{', with EXIF' * bool(notes)}",
                    lambda picture=picture, kind=kind, profile=profile, options=options: encode(  # type: ignore[misc]
                        picture, kind, icc_profile=profile, **options
                    ),
                    corners,
                )


def clear() -> bytes:
    """An image whose upper left quarter is transparent, and black behind it."""
    image = quarters().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 150, 130))
    return encode(image)


def commented() -> bytes:
    return encode(quarters(), "JPEG", quality=92, comment=SECRET)


ONE_NUMBER = ("16-bit grey with transparency", "gAMA of linear light", "gAMA beside sRGB")
FOREIGN = {
    "nothing": r"empty \(0 bytes\)|the answer has no image here",
    **{name: name for name in ("TIFF", "Photoshop", "SVG", "PDF", "icon", "JPEG 2000", "JPEG XL")},
}

ROWS: list[Row] = [
    *(row for turn in (3, 6, 8) for row in made("phone photo", f"turned {turn} by EXIF, JPEG")),
    *made("odd EXIF", "a raw profile with bytes behind its hex", "EXIF with a tag of an odd type"),
    *made("odd EXIF", "EXIF that is not TIFF", "EXIF in PNG that is not TIFF"),
    *made("no image data", "a PNG without image data", refused="no image data", forms=FILES),
    *made("cut inside", "rows that end in the middle", refused="damaged or cut off", forms=FILES),
    Row("transparent", clear, ((255, 255, 255), *CORNERS[1:])),
    *profiled(),
    Row("JPEG comment", commented),
    *made("serial of a monitor", "a monitor, PNG", "a monitor, JPEG", corners=None),
    *made("path of a profile", "a BMP that links a profile"),
    *made("odd colours", *ONE_NUMBER, "a frame smaller than its canvas"),
    # Pillow drops the chunk.
    *made("odd colours", "cICP of Display P3", "cICP beside gAMA and a profile", forms=FILES),
    *made("above 1 MB", "a profile above 1 MB", "text above 1 MB", forms=FILES),
    *made(
        "large JPEG", "a panorama of 60 megapixels", "64 megapixels of a phone", forms=("Path", "attachment", "result")
    ),
    *(made("AVIF", "turned 6 by EXIF, AVIF") if HAS_AVIF else ()),
    *(made("HEIC", "HEIC", "turned 6, HEIC", forms=FILES) if "HEIC" in MADE else ()),
    *made("small", "64x64", "100x300", "239x240", forms=INPUTS, enlarged=True),
    *made("tiny", "tiny, 63x63", "tiny, 16x4000", refused="each side must have at least 64 pixels", forms=INPUTS),
    *made("wrong checksum or end", "a wrong checksum of IDAT", "a wrong checksum of IEND", forms=FILES),
    *made("wrong checksum or end", "a PNG without its end", "a JPEG without its end", forms=FILES),
    *(row for name, refused in FOREIGN.items() for row in made("foreign", name, refused=refused, forms=FILES)),
]
CELLS = [pytest.param(row, form, id=f"{row.name} | {form}") for row in ROWS for form in row.forms]


@pytest.mark.parametrize(("row", "form"), CELLS)
def test_a_file_is_used_upright_in_its_colours_with_nothing_hidden_or_refused_by_name(
    row: Row, form: str, tmp_path: Path
) -> None:
    seen = FORMS[form](row.make(), tmp_path)
    if row.refused:
        assert not seen.images
        assert form == "result in a chat" or re.search(row.refused, seen.refusal), seen.refusal
        return
    assert seen.images
    assert not seen.refusal
    for name, data in seen.images.items():
        profile = Image.open(io.BytesIO(data)).info.get("icc_profile", b"")  # which a PNG packs
        assert not any(secret in text for secret in (SECRET, MONITOR.encode()) for text in (data, profile)), name
        corners = see_corners(look(data))
        assert row.corners is None or _are_close(corners, row.corners), (name, corners, row.corners)
    if row.enlarged:
        assert "was enlarged" in seen.adjustments[0]
        assert min(Image.open(io.BytesIO(seen.images["sent"])).size) >= 240


def _are_close(seen: Corners, expected: Corners) -> bool:
    pairs = zip(seen, expected, strict=True)
    return all(abs(a - b) <= FAR for left, right in pairs for a, b in zip(left, right, strict=True))


# Rows of one form


@pytest.mark.parametrize("mode", ["CMYK", "I", "F", "LAB", "HSV", "YCbCr", "PA", "La", "RGBa", "RGBX", "I;16", "1"])
def test_a_pillow_image_of_any_mode_is_sent(mode: str) -> None:
    steps = {"La": ("LA",), "RGBa": ("RGBA",), "PA": ("RGBA", "P"), "I": ("L",), "F": ("L",), "I;16": ("L",)}
    image = quarters()
    if mode == "LAB":
        srgb, lab = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(srgb, lab, "RGB", "LAB")) or image
    for step in (*steps.get(mode, ()), mode):
        image = image if image.mode == step else image.convert(step)
    (data,) = _send(image).images.values()
    expected = see_corners(quarters().convert("L" if mode in {"I", "F", "La", "I;16"} else "RGB"))
    assert mode in {"1", "I;16"} or _are_close(see_corners(look(data)), expected)  # dots of black, and far below white


def test_an_empty_pillow_image_is_refused_in_our_own_words() -> None:
    assert "it has no pixels (0x5)" in _send(Image.new("RGB", (0, 5))).refusal


def test_a_file_of_400_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "poster.png"
    with path.open("wb") as file:
        file.write(png())
        file.truncate(400 * 2**20)  # sparse: it takes no room
    tracemalloc.start()
    refusal = _send(path).refusal
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert re.search(r"poster\.png.*419,430,400 bytes; at most .*64 MiB", refusal)
    assert peak < 20 * 2**20


@pytest.mark.parametrize("use", ["send", "save"])
def test_48_megapixels_with_alpha_take_less_than_300_megabytes(use: str, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(rgba_png(8_000, 6_000))
    done = run_program(MEMORY, path, use)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300


MEMORY = """
import resource, sys
from pathlib import Path
from langchain_wan import ImageRequest, WanStore
from tests.support.fault_server import FaultServer
from tests.support.services import build_client
path = Path(sys.argv[1])
if sys.argv[2] == "send":
    with FaultServer() as server:
        build_client(server, store=WanStore()).generate(ImageRequest(prompt="x", images=(path,)))
else:
    WanStore().add(path).save(path.with_suffix(".jpg"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize(("kind", "module"), [("HEIC", "pillow_heif"), ("AVIF", "PIL.AvifImagePlugin")])
def test_without_its_decoder_a_photo_is_named_with_the_command_that_helps(
    kind: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"\0\0\0\x18ftyp" + kind.lower().encode() + b"\0\0\0\0mif1" + BOXES
    monkeypatch.setitem(sys.modules, module, None)
    for form in (as_bytes, as_data_uri):
        refusal = form(data, Path()).refusal
        assert kind in refusal
        assert "pip install" in refusal
        assert "Pass a Path" not in refusal


def test_without_its_encoder_a_result_is_not_saved_as_heic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(WanConfigurationError, match=r"pip install 'langchain-wan\[heif\]'"):
        WanStore().add(png()).save(tmp_path / "fox.heic")


BOXES = b"heic\0\0\0\x0cmeta" + bytes(4)

SPELLINGS = {
    "a name": "data:image/png;name=fox.png;base64,{}",
    "a charset": "data:image/png;charset=utf-8;base64,{}",
    "octets": "data:application/octet-stream;base64,{}",
    "nothing": "data:;base64,{}",
    "a wrong type": "data:image/jpeg;base64,{}",
}


@pytest.mark.parametrize("lines", [False, True], ids=["in one line", "in lines"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("form", ["data URI", "attachment", "result"])
def test_a_data_uri_with_any_label_is_read(form: str, spelling: str, lines: bool) -> None:
    data = png()
    uri = SPELLINGS[spelling].format(base64.encodebytes(data).decode() if lines else in_base64(data))
    if form == "data URI":
        assert _send(uri).images == {"sent": data}
    elif form == "attachment":
        block = {"type": "image_url", "image_url": {"url": uri}}
        assert _attach(HumanMessage([block])).images == {"sent": data}
    else:
        with FaultServer(reply(200, answer(uri))) as server:
            assert build_client(server, store=WanStore()).generate("x").images[0].read() == data


WRITTEN = [".tif", ".gif", ".ico", ".jp2", ".tga", ".webp", ".PNG", *([".avif"] if HAS_AVIF else [])]


@pytest.mark.parametrize("ending", WRITTEN)
def test_a_result_is_saved_as_the_type_that_its_name_says(ending: str, tmp_path: Path) -> None:
    with Image.open(WanStore().add(png()).save(tmp_path / f"fox{ending}")) as image:
        assert image.format == Image.registered_extensions()[ending.lower()]


@pytest.mark.parametrize("ending", [".svg", ".jxl", ".raw"])
def test_a_result_is_not_saved_under_a_type_that_nothing_writes(ending: str, tmp_path: Path) -> None:
    with pytest.raises(WanConfigurationError, match=f"{ending} is not an image type that can be written"):
        WanStore().add(png()).save(tmp_path / f"fox{ending}")
    assert list(tmp_path.iterdir()) == []
