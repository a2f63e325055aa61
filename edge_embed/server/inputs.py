"""Which inputs the service takes from callers who are not the machine's user, and how many tokens they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_embed.images.sources import DATA, UNTRUSTED, ImageSources

from .ask import Failure, Item
from .settings import ImagePolicy

IMAGE_TOKENS = 512  # what an image is taken for in the queue; a tower of its own takes about as long as such a text
BYTES_PER_TOKEN = 4  # of English; what waits is counted exactly once it is tokenised


def sources(policy: ImagePolicy) -> ImageSources:
    """Return where images may come from: never a path, never an address that is not public."""
    return replace(UNTRUSTED, urls=policy == "urls")


def check_inputs(inputs: Sequence[Item], policy: ImagePolicy, token_ids: bool) -> None:
    """Raise Failure for what is switched off here: token ids, images, or images by their address."""
    for number, item in enumerate(inputs):
        if isinstance(item, str):
            continue
        if isinstance(item, Mapping):
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


def estimate_tokens(inputs: Sequence[Item], longest: int) -> int:
    """Estimate the tokens of a request before it is tokenised; no input counts for more than the model's length."""
    total = 0
    for item in inputs:
        if isinstance(item, str):
            tokens = len(item) // BYTES_PER_TOKEN + 2
        elif isinstance(item, Mapping):
            text = item.get("text")
            tokens = len(text) // BYTES_PER_TOKEN + 2 if isinstance(text, str) else 0
            tokens += IMAGE_TOKENS if "image" in item else 0
        else:
            tokens = len(item)
        total += min(tokens, longest)
    return total
