"""Where images may come from when callers are not the machine's user."""

from __future__ import annotations

import pytest

from edge_embed.server.ask import Failure
from edge_embed.server.inputs import check_inputs, sources


def test_no_policy_opens_files_or_addresses_that_are_not_public() -> None:
    for policy in ("urls", "data", "off"):
        found = sources(policy)
        assert (found.files, found.private, found.urls) == (False, False, policy == "urls")
        assert found.max_pixels <= 16_000_000


@pytest.mark.parametrize("image", ["data:image/png;base64,AAAA", "DATA:image/png;base64,AAAA", b"\x89PNG"])
def test_images_that_came_along(image: str | bytes) -> None:
    for policy in ("urls", "data"):
        check_inputs([{"image": image}, {"image": image, "text": "tea"}], policy, token_ids=False)
    with pytest.raises(Failure, match="images are switched off here"):
        check_inputs(["tea", {"image": image}], "off", token_ids=False)


@pytest.mark.parametrize("image", ["http://example.com/a.png", "HTTPS://example.com/a.png"])
def test_images_by_their_address(image: str) -> None:
    check_inputs([{"image": image}], "urls", token_ids=False)
    with pytest.raises(Failure, match="fetching is switched off here") as found:
        check_inputs([{"image": image}], "data", token_ids=False)
    assert (found.value.status, found.value.reason) == (403, "forbidden")


@pytest.mark.parametrize(
    "image", ["/etc/passwd", "file:///etc/passwd", "~/cat.png", "cat.png", "ftp://example.com/a", ""]
)
@pytest.mark.parametrize("policy", ["urls", "data"])
def test_no_path_leads_into_the_machine(image: str, policy: str) -> None:
    with pytest.raises(Failure, match="files of the server cannot be named"):
        check_inputs([{"image": image}], policy, token_ids=False)  # type: ignore[arg-type]
