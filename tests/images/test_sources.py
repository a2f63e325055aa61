"""Every source of images, every mode, and every refusal; addresses on the network are a server on the loopback."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_embed import InputError
from edge_embed.images import urls as image_urls
from edge_embed.images.preprocess import load_image
from edge_embed.images.sources import UNTRUSTED, ImageSources, load_rgb
from edge_embed.spec.image import ImageSpec

from support import drawings

PHOTOGRAPH = drawings.photograph(40, 30, 3)
PNG = drawings.encoded(Image.fromarray(PHOTOGRAPH), "PNG")
ANY = ImageSources()


def rgb(item: object, sources: ImageSources = ANY) -> Any:
    return np.asarray(load_rgb(item, sources))


def test_every_source_gives_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "an image.png"
    path.write_bytes(PNG)
    uri = "data:image/png;base64," + base64.b64encode(PNG).decode()
    quoted = "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG)
    image = Image.open(path)
    for item in (str(path), path, PNG, bytearray(PNG), memoryview(PNG), uri, quoted, PHOTOGRAPH, image):
        assert np.array_equal(rgb(item), PHOTOGRAPH), type(item)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF", "JPEG", "JPEG2000", "AVIF"])
def test_formats(kind: str) -> None:
    grey = np.full((32, 32, 3), 90, np.uint8)
    assert np.abs(rgb(drawings.encoded(Image.fromarray(grey), kind)).astype(int) - 90).max() <= 2


def test_sixteen_bits_keep_their_greys() -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    expected = np.repeat((ramp // 257).astype(np.uint8)[..., None], 3, axis=2)
    for item in (drawings.encoded(Image.fromarray(ramp), "PNG"), drawings.encoded(Image.fromarray(ramp), "TIFF"), ramp):
        assert np.array_equal(rgb(item), expected)
    assert np.array_equal(rgb(Image.fromarray(ramp.astype(np.int32))), expected)


def test_arrays() -> None:
    as_float = PHOTOGRAPH.astype(np.float32) / 255
    assert np.array_equal(rgb(as_float), PHOTOGRAPH)
    assert np.array_equal(rgb(PHOTOGRAPH[..., 0]), rgb(PHOTOGRAPH[..., :1]))
    clear = np.concatenate([PHOTOGRAPH, np.zeros((30, 40, 1), np.uint8)], axis=2)
    assert (rgb(clear) == 255).all()
    assert np.array_equal(rgb(PHOTOGRAPH[::-1, ::2]), PHOTOGRAPH[::-1, ::2])


def test_orientation_is_that_of_the_camera() -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = drawings.encoded(Image.fromarray(PHOTOGRAPH), "PNG", exif=exif)
        turned = rgb(stored)
        assert turned.shape == ((40, 30, 3) if orientation > 4 else (30, 40, 3))
        opened = Image.open(__import__("io").BytesIO(stored))
        assert np.array_equal(rgb(opened), turned)
    assert np.array_equal(turned, np.rot90(PHOTOGRAPH))  # 8: the camera lay on its right side


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (10, 10), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = drawings.encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert rgb(data)[5, 5].tolist() == [255, 0, 0]


def test_a_cmyk_jpeg() -> None:
    data = drawings.encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert np.abs(rgb(data)[8, 8].astype(int) - [255, 0, 0]).max() <= 4


def bomb(side: int) -> bytes:
    """Return the header of a PNG of side x side pixels, and a few bytes that pretend to be them."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


JPEG = drawings.encoded(Image.fromarray(drawings.photograph(200, 150, 4)), "JPEG")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (JPEG[: len(JPEG) // 2], "the image is damaged: image file is truncated"),
        (PNG[: len(PNG) // 2], "the image is damaged"),
        (PNG[:60] + b"\xff" * 40 + PNG[100:], "damaged"),
        (bomb(50_000), r"too many pixels for Pillow.*2500000000 pixels"),
        (bomb(9_000), "9,000 x 9,000 pixels is over the limit of 64,000,000"),
        (b"%PDF-1.7 ...", "12 bytes is a PDF, which holds pages, not an image: render its pages"),
        (b"<svg xmlns='x'/>", "is an SVG, which is a drawing"),
        (b"\xef\xbb\xbf <?xml version='1.0'?><!-- x --><svg/>", "is an SVG"),
        (b"\0\0\0\x18ftypheic....", "is a HEIF image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "is not an image that can be read: its first bytes are b'%!PS-Ado'"),
        (drawings.encoded(Image.new("RGB", (16, 16)), "ICO"), "is not an image that can be read"),
        (b"", "it is empty"),
        ("data:text/plain,hello", "a data URI of type 'text/plain' is not an image"),
        ("data:,hello", "a data URI of type 'text/plain' is not an image"),
        ("data:image/png;base64,@@@@", "the data URI is not base64"),
        ("/no/such/image.png", "/no/such/image.png cannot be read: No such file"),
        ("nul\0.png", "cannot be read: .*null"),
        (os.devnull, "is not a file"),
        (".", "is not a file"),
        ("file:///etc/hosts", "file:// is not supported; give http, https, or a path"),
        ("ftp://host/a.png", "ftp:// is not supported"),
        (17, "int 17 is not an image: expected a path, an http"),
        (None, "NoneType None is not an image"),
        (np.zeros((3, 20, 30), np.uint8), "shape .3, 20, 30. is not an image.*channels come first"),
        (np.zeros(5, np.uint8), "shape .5,. is not an image"),
        (np.zeros((0, 5), np.uint8), "an image of 5 x 0 has no pixels"),
        (np.zeros((5, 5), np.int64), "an array of int64 is not an image"),
        (np.full((5, 5), 1.5), "an array of float64 goes beyond 0 to 1"),
        (np.full((5, 5), np.nan), "an array of float64 goes beyond 0 to 1"),
        (np.broadcast_to(np.uint8(0), (9_000, 9_000)), "9,000 x 9,000 pixels is over the limit"),
        (Image.new("F", (5, 5)), "floating-point grey has no known range"),
        (Image.fromarray(np.full((5, 5), 70_000, np.int32)), "grey from 70000 to 70000"),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, str | int) else type(value).__name__,
)
def test_what_is_refused(item: object, message: str) -> None:
    with pytest.raises(InputError, match=f"(?s)^image 5: .*{message}"):
        load_image(item, ImageSpec(size=(8, 8)), index=5)


def test_limits_and_switches(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    small = replace(ANY, max_bytes=100)
    for item in (path, PNG, "data:image/png;base64," + base64.b64encode(PNG).decode()):
        with pytest.raises(InputError, match=r"has [\d,]+ bytes, the limit is 100"):
            rgb(item, small)
    with pytest.raises(InputError, match="40 x 30 pixels is over the limit of 1,000"):
        rgb(PNG, replace(ANY, max_pixels=1_000))
    with pytest.raises(InputError, match="local files are switched off here"):
        rgb(path, UNTRUSTED)
    with pytest.raises(InputError, match="URLs are switched off here"):
        rgb("https://example.org/a.png", replace(ANY, urls=False))
    assert np.array_equal(rgb(PNG, UNTRUSTED), PHOTOGRAPH)


class Handler(BaseHTTPRequestHandler):
    """What each path answers stands in PAGES; some misbehave."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/slow"):
            head = b"HTTP/1.0 200 OK\r\nContent-Type: image/png\r\n" + b"\r\n" * (path == "/slow")
            with contextlib.suppress(OSError):
                self.wfile.write(head)
                for byte in b"x" * 600:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.02)
            return
        status, headers, body = PAGES[path]
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value.replace("HERE", self.headers["Host"]))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


IMAGE = {"Content-Type": "image/png"}
PAGES: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/a.png": (200, {**IMAGE, "Content-Length": str(len(PNG))}, PNG),
    "/%C3%A4%20b.png": (200, IMAGE, PNG),
    "/no-length.png": (200, IMAGE, PNG),
    "/endless.png": (200, IMAGE, PNG * 2000),
    "/html": (200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>"),
    "/svg": (200, {"Content-Type": "image/svg+xml"}, b"<svg/>"),
    "/zipped": (200, {**IMAGE, "Content-Encoding": "gzip"}, PNG),
    "/gone": (404, IMAGE, b""),
    "/moved": (302, {"Location": "/a.png"}, b""),
    "/round": (301, {"Location": "/round"}, b""),
    "/away": (302, {"Location": "file:///etc/hosts"}, b""),
    "/inside": (302, {"Location": "http://HERE/a.png"}, b""),
    "/short.png": (200, {**IMAGE, "Content-Length": str(len(PNG) + 5)}, PNG),
    "/huge.png": (200, {**IMAGE, "Content-Length": str(1 << 40)}, b""),
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()


def test_urls(server: str) -> None:
    for path in ("/a.png", "/a.png?size=3 ü", "/no-length.png", "/moved", "/%C3%A4 b.png", "/ä b.png"):
        assert np.array_equal(rgb(server + path), PHOTOGRAPH)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/gone", "answered 404 Not Found: check the address"),
        ("/html", "is 'text/html', not an image"),
        ("/svg", "is an SVG"),
        ("/zipped", "is 'gzip', not an image"),
        ("/round", "redirects more than 3 times"),
        ("/away", "file:///etc/hosts is no http or https address"),
        ("/short.png", "broke off 5 bytes before its end"),
        ("/huge.png", "has 1,099,511,627,776 bytes, the limit is 1,048,576"),
        ("/endless.png", "has more than the limit of 1,048,576 bytes"),
    ],
)
def test_what_a_url_may_not_answer(server: str, path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rgb(server + path, replace(ANY, max_bytes=1 << 20))


@pytest.mark.parametrize("path", ["/slow", "/slow-header"])
def test_a_slow_answer_is_not_waited_for(server: str, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=rf"{path} took longer than the limit of 0.5 s"):
        rgb(server + path, replace(ANY, timeout=0.5))
    assert time.monotonic() - started < 8  # the server would go on for 12 s


def test_addresses_that_cannot_be(server: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url, message in (
        (f"http://127.0.0.1:{port}/a.png", "cannot be fetched"),
        ("http://no-such-host.invalid/a.png", "cannot be fetched"),
        ("http:///a.png", "is no http or https address"),
        ("http://127.0.0.1:99999/a.png", "cannot be fetched.*[Pp]ort"),
        (server.replace("//", "//user:secret@") + "/a.png", "holds a user's name or password"),
        (server.replace("http", "https") + "/a.png", "cannot be fetched"),
    ):
        with pytest.raises(InputError, match=message):
            rgb(url, replace(ANY, timeout=5))


def test_private_addresses_when_switched_off(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"):
        with pytest.raises(InputError, match="is not public, and private addresses are switched off"):
            rgb(f"http://{host}:{server.rpartition(':')[2]}/a.png", UNTRUSTED)
    # A public name may redirect to an inner address, or a name may have a public and a private one.
    port = int(server.rpartition(":")[2])
    names = {"public.example": ["93.184.216.34"], "both.example": ["93.184.216.34", "10.0.0.1"]}

    def look_up(host: str, wanted: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, wanted)) for ip in names.get(host, [host])]

    dialled = []

    def dial(addresses: list[str], _: int, deadline: float) -> socket.socket:
        dialled.append(addresses)
        inner = socket.socket()
        inner.connect(("127.0.0.1", port))
        return inner

    monkeypatch.setattr(image_urls.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(image_urls, "_dial", dial)
    assert np.array_equal(rgb("http://public.example/a.png", UNTRUSTED), PHOTOGRAPH)
    assert dialled == [["93.184.216.34"]]  # the address that was checked, not the name once more
    with pytest.raises(InputError, match=r"both.example leads to 10.0.0.1, which is not public"):
        rgb("http://both.example/a.png", UNTRUSTED)
    PAGES["/inside"] = (302, {"Location": f"http://127.0.0.1:{port}/a.png"}, b"")
    with pytest.raises(InputError, match=r"127.0.0.1 leads to 127.0.0.1, which is not public"):
        rgb("http://public.example/inside", UNTRUSTED)


def test_a_name_that_is_looked_up_for_ever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver cannot be called off; so many may hang, and more are refused in the same time."""
    answer = threading.Event()

    def look_up(host: str, port: int, **options: Any) -> list[Any]:
        answer.wait(30)
        raise OSError("no such name")

    monkeypatch.setattr(image_urls.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(image_urls, "LOOKUPS", threading.BoundedSemaphore(2))
    for _ in range(4):
        with pytest.raises(InputError, match=r"http://slow.example/a.png took longer than the limit of 0.05 s"):
            rgb("http://slow.example/a.png", replace(ANY, timeout=0.05))
    hanging = [thread for thread in threading.enumerate() if thread.name == "edge_embed.look_up"]
    answer.set()
    for thread in hanging:
        thread.join()
    assert len(hanging) == 2


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("10.1.2.3", False),
        ("169.254.169.254", False),  # where clouds keep a machine's credentials
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2001:4860:4860::8888", True),
        ("2a00:1450:4001::1", True),
        ("168.63.129.16", False),  # where Azure answers its machines
        ("::ffff:168.63.129.16", False),
        ("100.100.100.200", False),
        ("192.88.99.1", False),
        ("198.18.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::808:808", False),
        ("fec0::1", False),
        ("64:ff9b:1::1", False),
        ("64:ff9b:1:ffff::7f00:1", False),
        ("5f00::1", False),
        ("100::1", False),
        ("2001::1", False),  # Teredo
        ("2001:db8::1", False),
        ("3fff::1", False),
        ("2002:a9fe:a9fe::1", False),
        ("4000::1", False),
        ("ff02::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert image_urls.is_public(address) is public
