"""The demonstration with images: draws some, searches them by text, and writes what was found as one PNG."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_embed.errors import InputError, MissingDependencyError, listing
from edge_embed.jobs.output import opened
from edge_embed.remedies.installing import install_extra

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

DEFAULT_MODEL = "jinaai/jina-clip-v1"
# Of other weights nobody has said that they know what an image shows.
TRAINED = (
    DEFAULT_MODEL,
    "royokong/e5-v",
    *(f"openai/clip-vit-{size}" for size in ("base-patch16", "base-patch32", "large-patch14")),
    "sentence-transformers/clip-ViT-B-32",
    *(f"google/siglip{release}-base-patch16-224" for release in ("", "2")),
)
QUESTIONS = (
    "a red circle",
    "a blue triangle",
    "a chessboard",
    "the sun going down over the sea",
    "stars in the night sky",
    "a green tree",
)
SIDE, GAP, FOUND = 224, 12, 4  # pixels of an image and between two; images shown for each question
Draw = Callable[["ImageDraw.ImageDraw"], object]


def drawings() -> Mapping[str, Draw]:
    """Say how to draw each image on a white square of SIDE pixels, by what it shows."""
    box, corners = (40, 40, 184, 184), [(112, 36), (190, 186), (34, 186)]
    colours = ("red", "blue", "green", "yellow")
    shapes: dict[str, Draw] = {f"{c} circle": lambda d, c=c: d.ellipse(box, c) for c in colours}  # type: ignore[misc]
    shapes |= {f"{c} square": lambda d, c=c: d.rectangle(box, c) for c in colours}  # type: ignore[misc]
    shapes |= {f"{c} triangle": lambda d, c=c: d.polygon(corners, c) for c in colours}  # type: ignore[misc]
    return {**shapes, "chessboard": _chessboard, "sunset": _sunset, "night sky": _night, "tree": _tree}


def draw(name: str) -> Image.Image:
    """Draw one of the images."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), "white")
    drawings()[name](ImageDraw.Draw(image))
    return image


def demo_images(model: str, output: Path, as_json: bool = False) -> None:
    """Embed the images, rank them for each question, print the ranking and write the contact sheet.

    Raises InputError for weights that are not a published model's: random ones would rank as if they knew something.
    """
    from edge_embed.embedder import Embedder

    _check_pillow()
    with Embedder(model) as embedder:
        if embedder.spec.source not in TRAINED:
            raise InputError(
                f"{model} comes from {embedder.spec.source or 'nowhere that is known'}: its ranking of images would "
                f"mean nothing. Shown are the weights of {listing(TRAINED)}, as in --model {DEFAULT_MODEL}"
            )
        names = list(drawings())
        start = time.perf_counter()
        images = embedder.encode_image([draw(name) for name in names])
        seconds = time.perf_counter() - start
        scores = embedder.similarity(embedder.encode_query(QUESTIONS), images)
        explained = embedder.explain()
    sheet = contact_sheet(names, scores)
    with opened(output) as file:
        sheet.save(file, "PNG")
    ranked = {
        question: [(float(row[n]), names[n]) for n in np.argsort(-row)[:FOUND]]
        for question, row in zip(QUESTIONS, scores, strict=True)
    }
    if as_json:
        found = {q: [{"score": score, "image": name} for score, name in rows] for q, rows in ranked.items()}
        cost = {"images": len(names), "seconds": seconds, "sheet": str(output)}
        print(json.dumps({"explain": explained, "answers": found, **cost}))
        return
    print(explained)
    for question, rows in ranked.items():
        print(f"{question:32}" + "  ".join(f"{score:.3f} {name}" for score, name in rows))
    print(f"{len(names)} images in {seconds:.2f} s: {len(names) / seconds:.1f} a second; the sheet is {output}")


def contact_sheet(names: list[str], scores: NDArray[np.float32]) -> Image.Image:
    """Lay out a line a question: its words, then the best images with their scores (questions, images)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(20)
    step = SIDE + GAP
    sheet = Image.new("RGB", (GAP + (FOUND + 1) * step, GAP + len(scores) * (step + 28)), "#e8e8e8")
    pen = ImageDraw.Draw(sheet)
    for line, (question, row) in enumerate(zip(QUESTIONS, scores, strict=True)):
        top = GAP + line * (step + 28)
        pen.multiline_text((GAP, top + SIDE // 2 - 24), _wrapped(question), "black", font)
        for place, n in enumerate(np.argsort(-row)[:FOUND]):
            left = GAP + (place + 1) * step
            sheet.paste(draw(names[n]), (left, top))
            pen.text((left, top + SIDE + 4), f"{row[n]:.3f}", "black", font)
    return sheet


def _wrapped(question: str, width: int = 20) -> str:
    lines = [""]
    for word in question.split():
        lines = [*lines[:-1], f"{lines[-1]} {word}".strip()] if len(lines[-1]) + len(word) < width else [*lines, word]
    return "\n".join(lines)


def _check_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"images need Pillow: {install_extra('images')}") from error


def _chessboard(pen: ImageDraw.ImageDraw) -> None:
    for n in range(64):
        y, x = divmod(n, 8)
        pen.rectangle((28 * x, 28 * y, 28 * x + 27, 28 * y + 27), "black" if (x + y) % 2 else "white")


def _sunset(pen: ImageDraw.ImageDraw) -> None:
    for y in range(140):
        pen.line((0, y, SIDE, y), (255, 90 + y // 2, 40 + y // 4))
    pen.ellipse((72, 90, 152, 170), "#ffe070")
    pen.rectangle((0, 140, SIDE, SIDE), "#1b3a66")
    for y in range(148, SIDE, 14):
        pen.line((80 - (y - 140) // 4, y, 144 + (y - 140) // 4, y), "#ffb060", 4)


def _night(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((0, 0, SIDE, SIDE), "#070b24")
    rng = np.random.default_rng(3)
    for x, y, size in zip(*rng.integers(4, SIDE - 4, (2, 70)), rng.integers(1, 3, 70), strict=True):
        pen.ellipse((int(x - size), int(y - size), int(x + size), int(y + size)), "white")
    pen.ellipse((150, 24, 196, 70), "#f4f1d0")


def _tree(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((0, 0, SIDE, SIDE), "#bfe3ff")
    pen.rectangle((0, 180, SIDE, SIDE), "#6aa84f")
    pen.rectangle((102, 120, 122, 190), "#6b4423")
    for left, top in ((52, 50), (92, 26), (112, 60), (72, 72)):
        pen.ellipse((left, top, left + 72, top + 68), "#2e7d32")
