"""The page, in a browser, against the Embedder's own numbers."""

from __future__ import annotations

import base64
import http.client
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_embed import Embedder, Index
from edge_embed.server import page as page_files
from edge_embed.server.gather import gather
from edge_embed.vectors import normalize, quantize, similarity

from support.browser import browser as started_browser
from support.browser import quiet_page
from support.real_service import serving
from support.seeing import SEES, SeeingLoader, seeing
from support.service import model as fake_model
from support.service import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

TEXTS = ["A cat sleeps.", "The kitten naps.", "Rates rose.", "Banks lend at more."]
QUESTION = "Which animal is tired?"
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    "javascript:alert(3)",
    "&lt;b&gt; \"quoted\" 'text'",
]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def model(converted: Path) -> Iterator[Embedder]:
    with Embedder(f"{converted}:int8") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def address(converted: Path, tiny_tokenizer: Path) -> Iterator[str]:
    with serving(f"{converted}:int8=minilm", tiny_tokenizer) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with quiet_page(browser) as opened:
        opened.goto(address)
        opened.wait_for_selector("#matrix td")
        yield opened


def compare(page: Page, texts: list[str]) -> None:
    page.fill("#texts", "\n".join(texts))
    page.click("#compare .go")
    page.wait_for_selector(f"#matrix tr:nth-child({len(texts) + 1}):last-child")


def search(page: Page, question: str, passages: list[str]) -> None:
    page.click("#tab-search")
    page.fill("#question", question)
    page.fill("#passages", "\n".join(passages))
    page.click("#search .go")
    page.wait_for_selector(f"#ranking li:nth-child({len(passages)}):last-child")


def matrix(page: Page) -> Any:
    """Read the numbers of the cells' tooltips, which have four digits, and see that the cells show two of them."""
    cells = [row.query_selector_all("td") for row in page.query_selector_all("#matrix tr")][1:]
    titles = [[str(cell.get_attribute("title")).partition(",")[0] for cell in row] for row in cells]
    values = np.array(titles, np.float64)
    shown = np.array([[cell.text_content() for cell in row] for row in cells], np.float64)
    np.testing.assert_allclose(shown, values, atol=0.0051)
    return values


def test_the_matrix_has_the_embedders_numbers(page: Page, model: Embedder) -> None:
    compare(page, TEXTS)
    vectors = model.encode(TEXTS)
    np.testing.assert_allclose(matrix(page), similarity(vectors, vectors), atol=6e-5)
    names = [re.sub(r"^\d", "", text) for text in page.locator("#matrix th[scope=row]").all_text_contents()]
    assert names == TEXTS
    timing = page.text_content("#timing") or ""
    tokens = sum(count.tokens for count in model.count_tokens(TEXTS))
    server = r"tokenising \d+\.\d, waiting \d+\.\d, the engine \d+\.\d"
    assert re.fullmatch(rf"4 inputs, {tokens} tokens: \d+ ms in all \(on the server, ms: {server}\)\.", timing)


def test_sliders_show_smaller_vectors_and_what_they_lose(page: Page, model: Embedder) -> None:
    compare(page, TEXTS)
    full = model.encode(TEXTS)
    assert page.text_content("#size") == "1,536 bytes a vector"
    assert "The whole vector" in (page.text_content("#loss") or "")
    page.fill("#dims", "2")
    cut = normalize(full[:, :48])
    np.testing.assert_allclose(matrix(page), similarity(cut, cut), atol=6e-5)
    assert page.text_content("#dims-value") == "48"
    page.fill("#precision", "1")
    codes = quantize(cut, "int8").astype(np.float32)
    np.testing.assert_allclose(matrix(page), similarity(codes, codes), atol=6e-5)
    page.fill("#precision", "0")
    bits = quantize(cut, "ubinary")
    signs = similarity(bits, bits, "hamming")
    np.testing.assert_allclose(matrix(page), signs, atol=6e-5)
    assert page.text_content("#size") == "6 bytes a vector — 256 times smaller"
    pairs = np.triu_indices(len(TEXTS), 1)
    exact = similarity(full, full)
    expected = np.corrcoef(signs[pairs], exact[pairs])[0, 1]
    loss = page.text_content("#loss") or ""
    assert f"similarities correlate at {expected:.3f}, the largest moved by " in loss
    assert f"moved by {np.abs(signs - exact)[pairs].max():.3f}, and " in loss
    assert re.search(r"and \d of 4 keep their nearest neighbour\. The model was not trained to be cut to 48\.$", loss)


def test_a_question_ranks_passages(page: Page, model: Embedder) -> None:
    search(page, QUESTION, TEXTS)
    scores = similarity(model.encode_query(QUESTION), model.encode_document(TEXTS))[0]
    order = np.argsort(-scores)
    assert page.locator("#ranking .text").all_text_contents() == [TEXTS[n] for n in order]
    shown = np.array(page.locator("#ranking .score").all_text_contents(), np.float64)
    np.testing.assert_allclose(shown, scores[order], atol=6e-4)
    page.fill("#precision", "0")
    page.fill("#dims", "0")
    bits = [
        quantize(normalize(part[:, :12]), "ubinary") for part in (model.encode_query([QUESTION]), model.encode(TEXTS))
    ]
    small = similarity(*(np.unpackbits(one, axis=-1)[:, :12].astype(np.float32) * 2 - 1 for one in bits))[0]
    moved = (np.argsort(-small, kind="stable") != order).sum()
    assert f"{moved} of 4 change their place" in (page.text_content("#loss") or "")
    assert len([text for text in page.locator("#ranking .moved").all_text_contents() if text]) == moved


def test_texts_stay_texts(page: Page) -> None:
    compare(page, HOSTILE)
    names = page.locator("#matrix th[scope=row]").all_text_contents()
    assert [re.sub(r"^\d", "", text) for text in names] == HOSTILE
    search(page, HOSTILE[0], HOSTILE)
    assert sorted(page.locator("#ranking .text").all_text_contents()) == sorted(HOSTILE)
    assert page.locator("main img, main script").count() == 0


def test_it_searches_an_index(browser: Browser, converted: Path, tiny_tokenizer: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    with Index.open(file, f"{converted}:int8") as index:
        index.add([{"id": f"<b>{n}", "text": text} for n, text in enumerate(HOSTILE)])
        index.add([{"id": "tea", "text": "Pour boiling water over the leaves."}])
        expected = index.search("how do I make a hot drink?", least=-1)
    with serving(f"{converted}:int8=minilm", tiny_tokenizer, file) as address, quiet_page(browser) as page:
        page.goto(address)
        page.wait_for_selector("#matrix td")
        page.focus("#tab-compare")
        page.keyboard.press("ArrowLeft")  # around to the last
        assert page.is_visible("#index")
        assert not page.is_visible("#dials")
        page.fill("#wanted", "how do I make a hot drink?")
        page.check("#all")
        page.press("#wanted", "Enter")
        page.wait_for_selector(f"#hits li:nth-child({len(expected)}):last-child")
        assert page.locator("#hits p").all_text_contents() == [hit.text for hit in expected]
        assert page.locator("#hits .place").all_text_contents() == [hit.place for hit in expected]
        assert page.locator("#hits .score").all_text_contents() == [f"{hit.score:.3f}" for hit in expected]
        assert page.locator("main img, main script, main b").count() == 0
        page.fill("#globs", "*.md")
        page.press("#globs", "Enter")
        page.wait_for_selector("#more:has-text('Nothing fits.')")
        page.click("#tab-compare")
        assert page.is_visible("#matrix")
        assert not page.is_visible("#hits")


def test_it_fits_a_phone(browser: Browser, address: str) -> None:
    with quiet_page(browser, viewport={"width": 360, "height": 740}) as page:
        page.goto(address)
        page.wait_for_selector("#matrix td")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        search(page, QUESTION, TEXTS)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_images_tasks_and_trained_sizes(browser: Browser, address: str) -> None:
    """Of a server whose model has all three."""
    asked: list[dict[str, Any]] = []
    about = {
        "dim": 4,
        "max_tokens": 77,
        "images": True,
        "matryoshka_dims": [2],
        "tasks": ["one", "two"],
        "level": "int8",
    }

    def embeddings(route: Route) -> None:
        body = json.loads(route.request.post_data or "")
        asked.append(body)
        data = [{"index": n, "embedding": [1.0, 0.5 * n, 0.25, -1.0]} for n in range(len(body["input"]))]
        route.fulfill(json={"data": data[::-1]})

    with quiet_page(browser) as page:
        listed = {"data": [{"id": "clip", "edge_embed": about}, {"id": "clip:query"}, {"id": "clip:one"}]}
        page.route("**/v1/models", lambda route: route.fulfill(json=listed))
        page.route("**/v1/embeddings", embeddings)
        page.goto(address)
        page.wait_for_selector("#matrix td")
        assert page.text_content("#about") == "4 dimensions · texts of up to 77 tokens · int8 · texts and images"
        page.select_option("#task", "two")
        page.set_input_files("#files", {"name": "<b>dot.png", "mimeType": "image/png", "buffer": PIXEL})
        page.wait_for_selector("#matrix th canvas")
        assert (page.locator("#matrix th[scope=row]").first.text_content() or "").endswith("<b>dot.png")
        page.fill("#dims", "0")
        assert page.text_content("#dims-value") == "2"
        assert "not trained" not in (page.text_content("#loss") or "")
        page.click("#thumbs button")
        page.wait_for_selector("#matrix th canvas", state="detached")
    first, *_, last = asked
    assert first["model"] == "clip"
    assert first["task"] == "one"
    assert first["encoding_format"] == "base64"
    assert last["task"] == "two"
    assert last["input"] == [{"image": f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"}]


def test_an_image_beside_texts(browser: Browser, tiny_tokenizer: Path) -> None:
    """Its bytes reach the engine as they are, whatever the browser draws of them."""
    models = [fake_model("fake", image=SEES.image)]
    with (
        running(tiny_tokenizer, models, gather(), SeeingLoader(tiny_tokenizer)) as service,
        seeing(tiny_tokenizer) as embedder,
        quiet_page(browser) as page,
    ):
        page.goto(f"http://127.0.0.1:{service.port}/")
        page.fill("#texts", "tea\ncake")
        page.set_input_files("#files", {"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL})
        page.wait_for_selector("#matrix tr:nth-child(4):last-child")
        vectors = np.stack([embedder.encode_image(PIXEL), *embedder.encode(["tea", "cake"])])
        np.testing.assert_allclose(matrix(page), similarity(vectors, vectors), atol=6e-5)


def test_it_asks_for_a_key_and_keeps_it_to_itself(browser: Browser, address: str) -> None:
    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"message": "this server asks for a key"}})

    with quiet_page(browser, allowed="401 (Unauthorized)") as page:
        page.route("**/v1/*", guard)
        page.goto(address)
        page.wait_for_selector("#key-form")
        assert page.text_content("#error") == "this server asks for a key"
        page.fill("#key", "right")
        page.press("#key", "Enter")
        page.wait_for_selector("#matrix td")
        assert not page.is_visible("#key-form")
        assert not page.is_visible("#error")
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_errors_and_cut_texts_are_told(browser: Browser, address: str) -> None:
    with quiet_page(browser, allowed="429 (Too Many Requests)") as page:
        page.goto(address)
        page.wait_for_selector("#matrix td")
        page.route(
            "**/v1/embeddings", lambda route: route.fulfill(status=429, json={"error": {"message": "come again"}})
        )
        page.fill("#texts", "new")
        page.click("#compare .go")
        page.wait_for_selector("#error")
        assert page.text_content("#error") == "come again"
        page.unroute("**/v1/embeddings")
        vector = base64.b64encode(struct.pack("<2f", 0.6, 0.8)).decode()
        page.route(
            "**/v1/embeddings",
            lambda route: route.fulfill(
                json={"data": [{"index": 0, "embedding": vector}]}, headers={"edge-embed-truncated": "1"}
            ),
        )
        page.click("#compare .go")
        page.wait_for_selector("#timing:has-text('1 was longer than the model reads, and cut.')")
        assert not page.is_visible("#error")


def ask(address: str, method: str, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_the_files_need_nothing_from_elsewhere(address: str) -> None:
    folder = Path(page_files.__file__).parent
    served = {path.name for path in folder.iterdir() if path.suffix in page_files.KINDS}
    assert sorted(page_files.FILES.values()) == sorted(served)
    for path, name in page_files.FILES.items():
        status, headers, body = ask(address, "GET", path)
        assert (status, body) == (200, (folder / name).read_bytes())
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        status, _, nothing = ask(address, "GET", path, **{"If-None-Match": f'"other", W/{headers["etag"]}'})
        assert (status, nothing) == (304, b"")
        assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in body
    html = (folder / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]* src=)|<style|style=|\son\w+=", html)
    assert "innerHTML" not in (folder / "page.js").read_text("utf-8")
    assert 'route="/",status="200"' in ask(address, "GET", "/metrics")[2].decode()


def test_only_get_is_the_pages(address: str) -> None:
    """HEAD and POST of its path are other APIs'."""
    assert [route.methods for route in page_files.ROUTES] == [{"GET"}] * len(page_files.FILES)
    assert ask(address, "DELETE", "/")[0] in (404, 405)
