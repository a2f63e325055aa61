"""What a request gets: its own vectors, the headers, and a message where something is wrong."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from edge_embed import Embedder
from edge_embed.errors import BackendError, CorruptModelError, InputError, MissingDependencyError, OutOfMemoryError
from edge_embed.server.ask import Call, Endpoint, Failure
from edge_embed.server.gather import Paths, gather

from support.service import Loader, Running, fail, running, vectors_of


def test_vectors_are_those_of_embedder(service: Running, fake: Embedder) -> None:
    status, headers, body = service.ask(["tea", "a cat sat"])
    assert status == 200
    assert body == {"vectors": vectors_of(fake, ["tea", "a cat sat"]), "model": "fake"}
    assert headers["server-timing"].startswith("tok;dur=")
    assert "server" not in headers
    assert "edge-embed-truncated" not in headers


def test_many_texts_are_read_and_written_beside_the_loop(service: Running, fake: Embedder) -> None:
    texts = [f"text {number} " * 3 for number in range(1000)]
    status, _, body = service.ask(texts)
    assert (status, body["vectors"]) == (200, vectors_of(fake, texts))


@pytest.mark.parametrize("name", ["fake", "fake:latest", "", None])
def test_a_model_has_its_name_and_is_the_default(service: Running, fake: Embedder, name: str | None) -> None:
    assert service.ask(["tea"], model=name)[2]["vectors"] == vectors_of(fake, ["tea"])


@pytest.mark.parametrize(("name", "side"), [("fake:query", None), ("fake", "query"), ("fake:query", "query")])
def test_a_name_says_the_side(service: Running, fake: Embedder, name: str, side: str | None) -> None:
    assert service.ask(["tea"], model=name, side=side)[2]["vectors"] == vectors_of(fake, ["tea"], side="query")


def test_an_unknown_name_lists_those_that_are_here(service: Running) -> None:
    status, headers, body = service.ask(["tea"], model="gpt")
    assert status == 404
    assert body["oops"] == {
        "message": "no model 'gpt' here: there is 'fake', each as NAME:query and NAME:document too",
        "reason": "no_model",
        "field": "model",
        "id": headers["x-request-id"],
    }


def test_headers_tell_what_was_cut_and_what_was_passed_over(service: Running) -> None:
    _, headers, _ = service.ask(["tea", "x" * 100, "y" * 100], colour="red", **{"a\r\nb, é": 1})
    assert headers["edge-embed-truncated"] == "2"
    assert headers["edge-embed-ignored"] == "colour, a??b???"


def test_a_sane_request_id_comes_back(service: Running) -> None:
    assert service.ask(["tea"], headers={"x-request-id": "job-17/a"})[1]["x-request-id"] == "job-17/a"
    for odd in ("two words", "x" * 200):
        assert len(service.ask(["tea"], headers={"x-request-id": odd})[1]["x-request-id"]) == 32


def test_an_input_that_cannot_be_embedded(service: Running) -> None:
    status, _, body = service.ask(["tea", 7])
    assert status == 400
    assert "input 1" in body["oops"]["message"] or "text 1" in body["oops"]["message"]


def test_a_dimension_that_the_model_has_not(service: Running) -> None:
    assert len(service.ask(["tea"], dim=4)[2]["vectors"][0]) == 4
    status, _, body = service.ask(["tea"], dim=5)
    assert (status, body["oops"]["reason"]) == (400, "bad_request")
    assert "was trained for [4, 8, 16] only" in body["oops"]["message"]


def test_no_path_of_the_machine_is_opened(service: Running) -> None:
    status, _, body = service.ask([{"image": "/etc/passwd"}])
    assert status == 400
    assert "files of the server cannot be named" in body["oops"]["message"]
    status, _, body = service.ask([{"image": "https://example.com/cat.png"}])
    assert (status, body["oops"]["reason"]) == (403, "forbidden")
    assert "--images urls" in body["oops"]["message"]


def test_token_ids_are_refused_unless_asked_for(service: Running, tiny_tokenizer: Path) -> None:
    status, _, body = service.ask([[3, 4]])
    assert status == 400
    assert "check_embedding_ctx_length=False" in body["oops"]["message"]
    with running(tiny_tokenizer, token_ids=True) as other:
        assert other.ask([[3, 4]])[0] == 200


def test_images_can_be_off(tiny_tokenizer: Path) -> None:
    with running(tiny_tokenizer, images="off") as service:
        status, _, body = service.ask([{"image": "data:image/png;base64,AAAA"}])
    assert (status, body["oops"]["message"]) == (403, "input 0 is an image, and images are switched off here")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            BackendError("onnxruntime: /home/me/secret.onnx is broken"),
            500,
            "the engine failed; the server's log tells more",
        ),
        (
            OutOfMemoryError("no 12 MB"),
            503,
            "the server has no memory for this request now: send fewer or shorter inputs",
        ),
        (ValueError("Traceback of /home/me/secret"), 500, "the engine failed; the server's log tells more"),
    ],
)
def test_an_engine_that_fails_tells_nothing_of_the_machine(
    tiny_tokenizer: Path, error: Exception, status: int, message: str
) -> None:
    with running(tiny_tokenizer) as service:
        assert service.ask(["tea"])[0] == 200
        service.loader.backend.error = error
        answer = service.ask(["tea"])
        assert (answer[0], answer[2]["oops"]["message"]) == (status, message)
        service.loader.backend.error = None
        assert service.ask(["tea"])[0] == 200


@pytest.mark.parametrize(
    "error",
    [
        CorruptModelError("/home/me/model.onnx is damaged"),
        InputError("max_memory of 1 MB is too little"),
        MissingDependencyError("pip install /home/me/edge_embed"),
    ],
)
def test_a_model_that_cannot_be_loaded(
    tiny_tokenizer: Path, error: CorruptModelError, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tiny_tokenizer, loader=Loader(tiny_tokenizer, error=error)) as service:
        status, _, body = service.ask(["tea"])
        assert status == 503
        assert body["oops"]["message"] == "the model fake cannot be loaded; the server's log says why"
        assert str(error) in caplog.text
        service.loader.error = None
        assert service.ask(["tea"])[0] == 200, "it is tried again"


@pytest.mark.parametrize(
    "error", [partial(Failure, status=400, reason="bad_request", message="no"), InputError, ValueError]
)
def test_a_refused_request_is_not_kept(tiny_tokenizer: Path, error: Callable[[], Exception]) -> None:
    """Cycles of an error and its frames would hold a body until Python looks for cycles, which it seldom does."""
    found: list[weakref.ref[object]] = []

    class Held:
        pass

    def read(body: bytes, params: object) -> Call:
        held = Held()
        found.append(weakref.ref(held))
        raise error()

    paths = Paths(endpoints=[Endpoint(path="/vectors", read=read, fail=fail)])
    with running(tiny_tokenizer, paths=paths) as service:
        gc.disable()
        try:
            assert service.ask(["tea"])[0] >= 400
            service.send("GET", "/livez")
            assert found[0]() is None
        finally:
            gc.enable()


def test_requests_at_once_get_their_own(service: Running, fake: Embedder) -> None:
    wrong: list[object] = []

    def ask(number: int) -> None:
        for turn in range(5):
            texts = [f"client {number} turn {turn} {word}" for word in ("tea", "tax")][: 1 + number % 2]
            answer = service.ask(texts)[2]
            if answer["vectors"] != vectors_of(fake, texts):
                wrong.append((number, turn))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_listings_and_health(service: Running) -> None:
    service.ask(["tea"])
    assert service.send("GET", "/cards")[2] == [{"name": "fake", "loaded": True, "expires": None}]
    for path in ("/livez", "/readyz", "/health"):
        assert service.send("GET", path)[::2] == (200, {"status": "ok"})
    assert service.send("HEAD", "/health")[::2] == (200, b"")


def test_unknown_paths_and_methods(service: Running) -> None:
    status, headers, body = service.send("GET", "/nothing")
    assert (status, body["error"]["message"]) == (404, "there is no such path here")
    assert headers["x-request-id"]
    status, headers, body = service.send("GET", "/vectors")
    assert (status, headers["allow"], body["oops"]["message"]) == (405, "POST", "/vectors takes POST")
    assert service.send("POST", "/readyz")[0] == 405
    assert service.send("POST", "/vectors/")[0] == 404
    assert service.send("GET", "/../../etc/passwd")[0] == 404


def test_cors_only_for_whom_it_was_asked(service: Running, tiny_tokenizer: Path) -> None:
    page = {"Origin": "https://page.example"}
    assert "access-control-allow-origin" not in service.ask(["tea"], headers=page)[1]
    with running(tiny_tokenizer, cors=["https://page.example"]) as other:
        headers = other.ask(["tea"], headers=page)[1]
        assert headers["access-control-allow-origin"] == "https://page.example"
        assert "x-request-id" in headers["access-control-expose-headers"]
        assert "access-control-allow-origin" not in other.ask(["tea"], headers={"Origin": "https://other.example"})[1]
        preflight = {**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        assert other.send("OPTIONS", "/vectors", headers=preflight)[0] == 200


def test_metrics_count(tiny_tokenizer: Path) -> None:
    with running(tiny_tokenizer) as service:
        service.ask(["tea", "x" * 100])
        service.ask(b"{")
        service.send("GET", "/made/up/by/the/caller")
        assert service.metric('edge_embed_requests_total{model="fake",route="/vectors",status="200"}') == 1
        assert service.metric('edge_embed_requests_total{model="",route="/vectors",status="400"}') == 1
        assert service.metric('edge_embed_requests_total{model="",route="",status="404"}') == 1
        assert service.metric('edge_embed_rejected_total{reason="bad_request"}') == 1
        assert service.metric('edge_embed_texts_total{model="fake"}') == 2
        assert service.metric('edge_embed_truncated_texts_total{model="fake"}') == 1
        assert service.metric("edge_embed_queue_tokens") == service.metric("edge_embed_queue_texts") == 0
        assert service.metric("edge_embed_batch_texts_count") >= 1
        assert service.metric('edge_embed_model_info{engine="unknown",fingerprint="",level="unknown"') == 0
        text = service.send("GET", "/metrics")[2].decode()
    assert "made" not in text
    assert 'edge_embed_model_info{engine="GatedBackend",' in text


def test_json_is_not_read_by_its_type(service: Running) -> None:
    body = json.dumps({"inputs": ["tea"]}).encode()
    assert service.ask(body, headers={"Content-Type": "application/x-www-form-urlencoded"})[0] == 200


def test_openai_calls_what_is_not_there_now_the_servers_trouble(tiny_tokenizer: Path) -> None:
    loader = Loader(tiny_tokenizer, error=CorruptModelError("damaged"))
    with running(tiny_tokenizer, paths=gather(), loader=loader) as service:
        status, _, body = service.ask(b'{"input": "tea", "model": "fake"}', "/v1/embeddings")
    assert (status, body["error"]["type"]) == (503, "server_error")
