"""Which inputs the service takes from callers who are not the machine's user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_embed.images.sources import DATA, UNTRUSTED, ImageSources

from .ask import Failure, Item
from .failures import too_large
from .settings import ImagePolicy

LONGEST = 1 << 20  # characters of a text: 0.4 s of tokenising, and many times what any model reads


def sources(policy: ImagePolicy) -> ImageSources:
    """Return where images may come from: never a path, never an address that is not public."""
    return replace(UNTRUSTED, urls=policy == "urls")


def check_inputs(inputs: Sequence[Item], policy: ImagePolicy, token_ids: bool) -> None:
    """Raise Failure for too long a text, and for what is switched off here: token ids, images, or their addresses."""
    for number, item in enumerate(inputs):
        if isinstance(item, str):
            _check_text(item, number)
        elif isinstance(item, Mapping):
            _check_text(item.get("text"), number)
            if "image" in item:
                _check_image(item["image"], number, policy)
        elif not token_ids:
            raise Failure(
                status=400,
                reason="bad_request",
                message=f"input {number} is a list of token ids, which are another model's unless the client has this "
                "one's tokenizer: send texts. langchain-openai does so with check_embedding_ctx_length=False. Ids of "
                "this very model are taken where the server was started with --token-ids",
                field="input",
            )


def _check_text(text: object, number: int) -> None:
    if isinstance(text, str) and len(text) > LONGEST:
        raise too_large(f"input {number} has {len(text):,} characters, the limit is {LONGEST:,}: send it in parts")


def _check_image(image: object, number: int, policy: ImagePolicy) -> None:
    if policy == "off":
        raise _forbidden(f"input {number} is an image, and images are switched off here")
    if not isinstance(image, str) or DATA.match(image):
        return
    if not image.lower().startswith(("http://", "https://")):
        raise Failure(
            status=400,
            reason="bad_request",
            message=f"input {number}: an image comes as a data URI, data:image/png;base64,..., or as an http(s) "
            "address; files of the server cannot be named",
            field="input",
        )
    if policy != "urls":
        raise _forbidden(
            f"input {number} is an image by its address, and fetching is switched off here: send the image itself as "
            "a data URI, or start the server with --images urls"
        )


def _forbidden(message: str) -> Failure:
    return Failure(status=403, reason="forbidden", message=message, field="input")
