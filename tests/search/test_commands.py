"""The commands index and search, with the real model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from edge_embed import Embedder
from edge_embed.cli import search
from edge_embed.cli.main import main
from edge_embed.device import priority
from edge_embed.device.background import Background

from support.places import ROOT
from support.search import splitting

pytestmark = splitting


@pytest.fixture(scope="module")
def made(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a few files and an index of them."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "edge_embed" / "cli" / "guide.md", folder)
    (folder / "tea.txt").write_text("Pour boiling water over the leaves, and wait for four minutes.\n")
    (folder / "bus.txt").write_text("The bus to the station leaves every ten minutes until midnight.\n")
    assert main(["index", str(folder), "--index", str(folder / "i.db"), "--model", f"{converted}:int8"]) == 0
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_search(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EDGE_EMBED_INDEX", str(made / "i.db"))
    monkeypatch.chdir(made)
    found = run(capsys, "search", "how do I make a hot drink?", "--top", 1)
    assert re.fullmatch(r"0\.\d{3}  tea\.txt:1\n       Pour boiling water .*\n", found)
    hits = json.loads(run(capsys, "search", "public transport", "--json"))["hits"]
    assert hits[0]["path"] == str(made / "bus.txt")
    assert hits[0]["line"] == 1
    assert "guide.md:" in run(capsys, "search", "EDGE_EMBED_CACHE", "--top", 1)
    assert "tea.txt" not in run(capsys, "search", "hot drink", "--path", "*.md", "--all")
    assert "tea.txt" not in run(capsys, "search", "--like", "tea.txt", "--all", "--no-hybrid")
    encode, asked = Embedder.encode_query, list[object]()
    monkeypatch.setattr(Embedder, "encode_query", lambda *given, **more: asked.append(given) or encode(*given, **more))
    assert main(["search", "Wann schlafen Wale, und wie lange?", "--path", "bus.txt"]) == 0
    assert "nothing fits: the nearest passage has" in capsys.readouterr().err
    assert len(asked) == 1  # for the nearest passage, too


def test_the_index_is_kept_up(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "home"))
    (folder / "i.db").unlink()
    path = folder / "i.db"
    model = json.loads(run(capsys, "index", "--status", "--json", "--index", made / "i.db"))["model"]
    assert "3 files indexed" in run(capsys, "index", folder, "--index", path, "--model", model)
    (folder / "more.txt").write_text("Whales sleep half a brain at a time.\n")
    assert "1 files indexed (1 passages), 3 unchanged, 0 removed, 0 left out" in run(capsys, "index", "--index", path)
    assert json.loads(run(capsys, "index", "--index", path, "--json"))["unchanged"] == 4
    assert "content   4 files, 0 items" in run(capsys, "index", "--status", "--index", path)
    assert run(capsys, "index", "--remove", folder / "more.txt", "--index", path) == "1 files removed\n"
    run(capsys, "index", "--compact", "--index", path)
    run(capsys, "index", "--export", tmp_path / "v.npy", "--index", path)
    assert "whales" not in run(capsys, "search", "sleep", "--index", path, "--all").lower()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "a", "--index", "none.db"], "there is no index"),
        (["search", "--index", "none.db"], "give one of a query, --like FILE and --image FILE"),
        (["index", "--index", "none.db"], "there is no index none.db yet: name files or folders to read"),
        (["index", "a", "--status", "--index", "none.db"], "go without PATH and --watch"),
    ],
)
def test_wrong_commands(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_watch(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each pause is a turn here: a file comes, then it goes, then the user ends it."""
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "tea.txt").write_text("Pour boiling water over the leaves.\n")
    turns = iter([lambda: (folder / "new.txt").write_text("Whales sleep."), (folder / "new.txt").unlink])
    lowered: list[bool] = []
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        turn = next(turns, None)
        if turn is None:
            raise KeyboardInterrupt
        turn()

    monkeypatch.setattr(search.time, "sleep", sleep)
    monkeypatch.setattr(priority, "lower", lambda whole=False: lowered.append(whole))
    monkeypatch.setattr(Background, "wait", lambda self: None)  # however busy the machine is that tests run on
    model = json.loads(run(capsys, "index", "--status", "--json", "--index", made / "i.db"))["model"]
    assert main(["index", str(folder), "--index", str(tmp_path / "i.db"), "--model", model, "--watch"]) == 130
    assert re.findall(r"(\d+) files indexed .* (\d+) removed", capsys.readouterr().out) == [
        ("1", "0"),
        ("1", "0"),
        ("0", "1"),
    ]
    assert lowered == [True]
    assert min(pauses) >= search.LEAST_PAUSE
