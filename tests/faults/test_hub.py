"""Hubs that lie: whatever they answer, an error of ours or no harm, nothing outside the cache, in a bounded time."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
import select
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_embed import CorruptModelError, EdgeEmbedError

from support import faults
from support.hostile_hub import HOSTILE_WORKER, HostileHub, Spoil, draw_spoil, on_listing
from support.hub_server import CHECKPOINT, GRAPHS, Client

SHARE = 0.35
PATIENCE = 120.0  # seconds for one answer of ours, however busy the machine is: a hub is asked four times at most
GROWTH = 700_000  # KiB of memory for whatever a hub sends
LIMITS = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_TOKEN": "hf_secret"}
SPEC = {
    "format": 1,
    "name": "m",
    "architecture": "bert",
    "dim": 16,
    "max_tokens": 64,
    "pooling": "mean",
    "normalize": True,
}
OWN = {"format": "onnx", "level": "int8", "files": [{"path": "onnx/model_int8.onnx"}]}
# Contents that name files and folders, in an honest listing.
CONTENTS = [
    {"edge_embed.json": json.dumps({**SPEC, "name": "../../../../x", "weights": [OWN]})},
    {"edge_embed.json": json.dumps({**SPEC, "weights": [{**OWN, "files": [{"path": "../../../x"}]}]})},
    {"edge_embed.json": json.dumps({**SPEC, "name": "a\x1b[2Jb", "license": "\x1b[2J", "weights": [OWN]})},
    {"modules.json": '[{"type": "m.Transformer", "path": ""}, {"type": "m.Pooling", "path": "../../../.."}]'},
    {"model.safetensors.index.json": '{"weight_map": {"a": "../../../x.safetensors"}}', "quantize_config.json": "{}"},
    {
        "config.json": '{"quantization": {"bits": 4}, "model_type": "bert", "hidden_size": 16}',
        "model-4bit.safetensors": "x",
    },
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder deep enough for `..`, with things in it that must stay."""
    base = tmp_path_factory.mktemp("hostile")
    for name in ("x", "config.json", "a/b/c/x", "a/x", "a/b/x", "home/x"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(f"precious {name}")
    (base / "a/b/c/tmp").mkdir()
    return base


@pytest.fixture(scope="module")
def stranger() -> Iterator[HostileHub]:
    with HostileHub(stranger=True) as server:
        server.push("user/m", GRAPHS)
        yield server


@pytest.fixture(scope="module")
def hub() -> Iterator[HostileHub]:
    with HostileHub() as server:
        yield server


class Victim:
    """A client whose answers are waited for no longer than PATIENCE, and of which every path is known that it wrote."""

    def __init__(self, hub: HostileHub, base: Path) -> None:
        self.base, self.cache, self.count = base, base / "a/b/c/cache", 0
        variables = LIMITS | {"TMPDIR": str(base / "a/b/c/tmp"), "EDGE_EMBED_CACHE": str(base / "a/b/c/own")}
        self.client = Client(hub, base / "home/hf", HOSTILE_WORKER, **variables)
        self.tree = self.hashes()
        self.first = int(str(self.client._call("written")))

    def hashes(self) -> dict[str, str]:
        """Return the digests of all files but those of the cache and the temporary folder."""
        own = (self.cache, self.base / "a/b/c/tmp", self.base / "a/b/c/own", self.base / "home/hf")
        files = (path for path in self.base.rglob("*") if not any(path.is_relative_to(folder) for folder in own))
        return {str(path): hashlib.sha1(path.read_bytes()).hexdigest() for path in files if path.is_file()}

    def call(self, *arguments: str) -> EdgeEmbedError | None:
        """Call a function of the worker; return the error of ours that it ended in."""
        assert self.client.process.stdin is not None
        assert self.client.process.stdout is not None
        self.client.process.stdin.write(json.dumps(arguments) + "\n")
        self.client.process.stdin.flush()
        ready, _, _ = select.select([self.client.process.stdout], [], [], PATIENCE)
        if not ready:
            self.client.process.send_signal(signal.SIGUSR1)  # it tells where it is
            time.sleep(1)
        assert ready, f"no answer within {PATIENCE} s"
        line = self.client.process.stdout.readline()
        assert line, "the process ended"
        kind, text, _ = json.loads(line)
        assert "\x1b" not in text
        if not kind:
            return None
        error = getattr(__import__("edge_embed.errors").errors, kind, None)
        assert error is not None, f"{kind}: {text}"
        assert issubclass(error, EdgeEmbedError)
        return error(text)  # type: ignore[no-any-return]

    def try_all(self) -> list[EdgeEmbedError | None]:
        """Look at the repository, load it, and load it again from what the cache has now."""
        shutil.rmtree(self.cache, ignore_errors=True)
        self.count += 1
        errors = [self.call("look", "user/m", str(self.cache))]
        errors += [self.call("resolve", "user/m", revision, str(self.cache), offline) for revision, offline in CALLS]  # type: ignore[arg-type]
        return errors

    def check(self) -> None:
        """Assert that nothing outside was touched, and that memory stayed within its bounds."""
        peak = int(str(self.client._call("written")))
        allowed = [
            self.cache,
            self.base / "a/b/c/tmp",
            self.base / "a/b/c/own",
            self.base / "home/hf",
            Path("/dev/null"),
        ]
        written = [Path(path) for path in self.client.levels]
        assert [path for path in written if not any(path.is_relative_to(folder) for folder in allowed)] == []
        repositories = {path.name for path in self.cache.glob("*")}
        assert repositories <= {"models--user--m", ".locks", "CACHEDIR.TAG"}
        for link in (path for path in self.cache.rglob("*") if path.is_symlink()):
            assert link.resolve().is_relative_to(self.cache)
        assert self.hashes() == self.tree
        assert peak - self.first < GROWTH


CALLS = ((None, None), ("main", True))


@pytest.fixture(scope="module")
def _victim(hub: HostileHub, base: Path) -> Iterator[Victim]:
    victim = Victim(hub, base)
    yield victim
    victim.client.process.kill()
    victim.client.process.communicate()


@pytest.fixture
def victim(_victim: Victim, hub: HostileHub) -> Victim:
    hub.spoils.clear()
    return _victim


def test_whatever_a_hub_answers(hub: HostileHub, stranger: HostileHub, victim: Victim) -> None:
    """The seed of a failure is in its message; `EDGE_EMBED_FAULTS` says how long, and long runs draw anew."""
    first = random.SystemRandom().randrange(10**9) if faults.long() else 0
    until, ended = time.monotonic() + faults.seconds(SHARE), Counter[str]()
    seed = first
    while time.monotonic() < until:
        draw = random.Random(seed)
        hub.push("user/m", draw.choice((GRAPHS, CHECKPOINT, GRAPHS | draw.choice(CONTENTS))))
        hub.down, hub.gated = "", set()
        lies = [draw_spoil(draw, stranger.url("localhost")) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
        hub.spoils = [spoil for _, spoil in lies]
        try:
            errors = victim.try_all()
            victim.check()
        except BaseException as error:
            raise AssertionError(f"seed {seed}, {[lie for lie, _ in lies]}: {error}") from error
        ended.update(type(error).__name__ for error in errors)
        seed += 1
    print(f"{seed - first} hubs that lie: {dict(ended)}")
    assert not stranger.tokens  # the token is the hub's alone
    assert ended.keys() > {"NoneType", "ModelNotFoundError"}


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (CONTENTS[0], r"edge_embed.json: name: '../../../../x' cannot be a model's name"),
        (CONTENTS[1], r"edge_embed.json: weights.files.path: '../../../x' cannot be a path below a folder"),
        (CONTENTS[2], r"edge_embed.json: name: .* cannot be a model's name"),
        (CONTENTS[3], r"modules.json: '../../../..' cannot be a path below a folder"),
    ],
)
def test_names_in_a_models_own_files(contents: dict[str, str], message: str, hub: HostileHub, victim: Victim) -> None:
    hub.push("user/m", GRAPHS | contents)
    for error in victim.try_all()[:2]:
        assert isinstance(error, CorruptModelError)
        assert re.search(message, str(error))
    victim.check()


def lie(listing: dict[str, Any]) -> Spoil:
    """Return what changes the hub's listing so."""
    return on_listing(lambda honest: {**honest, **listing})


def file(name: str, **facts: object) -> Spoil:
    """Return what adds a file to the hub's listing."""
    added = {"rfilename": name, "size": 2, "blobId": "0" * 40} | facts
    return on_listing(lambda honest: {**honest, "siblings": [*honest["siblings"], added]})


def header(**headers: str) -> Spoil:
    """Return what adds headers to answers about files."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda path, answer: (answer[0], answer[1] | named, *answer[2:]) if "/resolve/" in path else answer


def redirected(to: str) -> Spoil:
    """Return what redirects those who ask for the listing, with a body that has no end."""
    return lambda path, answer: (302, {"Location": to}, b"", True) if "/api/" in path else answer


def packed(where: str) -> Spoil:
    """Return what packs answers, whose bytes then become nothing for ever."""
    also, body = {"Content-Encoding": "gzip"}, gzip.compress(b"{}")
    return lambda path, answer: (answer[0], answer[1] | also, body, True) if where in path else answer


SMALL = [{"rfilename": f"{n}Pooling/config.json", "size": 2, "blobId": f"{n:040x}"} for n in range(65)]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lie({"sha": "../../../../x"}),
            r"the hub names the commit '../../../../x', which is none: expected 40 hex digits",
        ),
        (lie({"sha": None}), "the hub names the commit None"),
        (lie({"siblings": {}}), "the hub lists no files; expected a list of at most 50,000"),
        (lie({"siblings": [{}] * 50_001}), "the hub lists 50,001 files; expected"),
        (lie({"siblings": [*SMALL, {"rfilename": "config.json"}]}), "has 66 files such as .* that would say what the"),
        (file("config.json", size=1 << 40), "says that config.json has 1,099,511,627,776 bytes; files that say what"),
        (on_listing(lambda _: b"[" * 10**6), "got an answer that no hub gives .*nested too deep"),
        (on_listing(lambda _: b"7"), "got an answer that no hub gives .*a listing that is int, not an object"),
        (on_listing(lambda _: b" " * (17 << 20)), "the hub's listing has more than 16 MB"),
        (lambda path, answer: (*answer[:3], "/api/" in path), "the hub's listing has more than 16 MB"),
        (lambda path, answer: (*answer[:3], answer[0] == 302), ""),
        (
            redirected("/api/models/user/m"),
            "the hub redirects more than 5 times, lastly to http://.*/api/models/user/m",
        ),
        (
            redirected("http://[::1"),
            r"(redirects to 'http://\[::1', which is no|Invalid URL in location header)",
        ),  # httpx's
        (packed("/api/"), r"the hub packed its answer \('gzip'\), although it was asked not to"),
        (packed("/resolve/"), r"the hub packed its answer \('gzip'\), although it was asked not to"),
        (header(ETag='"../../../x"'), "was answered by something that is no hub"),
        (header(ETag='".."'), "was answered by something that is no hub"),
        (lambda path, answer: (*answer[:2], answer[2][:1] if "/api/" not in path else answer[2], False), "ended after"),
        (header(X_Error_Code="GatedRepo"), ""),
        (file("adapters/../../../../../x/adapter_config.json"), ""),
        (file("onnx/model.onnx_data", lfs={"sha256": "../../../x", "size": -1}), ""),
        (lie({"cardData": {"license": "\x1b]0;owned\x07"}}), ""),
    ],
)
def test_each_lie_is_named(
    spoil: Spoil, message: str, hub: HostileHub, victim: Victim, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.push("user/m", GRAPHS)
    hub.spoils = [spoil]
    _, error, _ = victim.try_all()
    assert (error is None) == (not message), error
    assert re.search(message, str(error))
    victim.check()
    assert "\x1b" not in capfd.readouterr().err
