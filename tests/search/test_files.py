"""Files -> index: what is read and what is left out, changes, removals, bad input, and the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_embed import Embedder, Index, InputError, SearchIndexError
from edge_embed.backends.fake import FakeBackend, FakeImageBackend
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.search import extract
from edge_embed.search.walk import Walk
from edge_embed.spec.image import ImageSpec

from support.search import fake_model, splitting

pytestmark = splitting


@pytest.fixture
def index(model: Embedder, tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "i.db", model) as index:
        yield index


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "notes").mkdir(parents=True)
    (home / "tea.txt").write_text("ann drinks tea\n\nzebras sleep\n")
    (home / "notes" / "bus.md").write_text("# bus\n\nthe bus is late\n")
    return home


def names(index: Index, query: str, **limits: object) -> list[str]:
    return [Path(hit.path or "").name for hit in index.search(query, least=-1, **limits)]  # type: ignore[arg-type]


def walked(home: Path, *excluded: str) -> list[str]:
    found = Walk([os.fsencode(home)], excluded).files()
    return sorted(os.fsdecode(one.path).removeprefix(f"{home}/") for one in found)


def test_changes_are_followed(index: Index, home: Path) -> None:
    report = index.add_files([home])
    assert (report.indexed, report.unchanged, report.removed, report.left_out) == (2, 0, 0, [])
    assert names(index, "the bus is late")[0] == "bus.md"
    (hit, *_) = index.search("the bus is late", least=-1)
    text = (home / "notes" / "bus.md").read_text()
    assert text[hit.start : hit.stop] == hit.text
    assert (hit.line, hit.page, hit.place) == (1, None, f"{home}/notes/bus.md:1")
    assert (index.add_files([home]).unchanged, index.add_files().unchanged) == (2, 2)
    (home / "tea.txt").write_text("ships sail")
    os.utime(home / "notes" / "bus.md")  # touched, its content the same
    report = index.add_files()
    assert (report.indexed, report.unchanged) == (1, 1)
    assert names(index, "ships sail")[0] == "tea.txt"
    (home / "tea.txt").unlink()
    assert index.add_files().removed == 1
    assert names(index, "ships sail") == ["bus.md"]
    assert index.remove(paths=[home]) == 1
    assert index.add_files().indexed == 0
    assert index.status().roots == ()


def test_passages_know_their_lines(index: Index, home: Path) -> None:
    text = "".join(f"line {n} of a text about {'tea' if n % 7 else 'zebras'}\n" for n in range(1, 60))
    (home / "long.txt").write_text(text)
    index.add_files([home])
    hits = index.search("line 33", least=-1, top=50, paths=["long.txt"])
    assert len(hits) > 5
    for hit in hits:
        assert text[hit.start : hit.stop] == hit.text
        assert text[: hit.start].count("\n") + 1 == hit.line
    (first,) = [hit for hit in hits if "line 33 " in hit.text]
    assert first == hits[0]


def test_limits_by_path_and_time(index: Index, home: Path) -> None:
    os.utime(home / "tea.txt", (1e9, 1e9))
    index.add_files([home])
    assert names(index, "tea", paths=["*.md"]) == ["bus.md"]
    assert names(index, "tea", paths=["notes/*"]) == ["bus.md"]
    assert names(index, "tea", paths=[f"{home}/*.txt"]) == ["tea.txt"]
    assert names(index, "tea", since="2020-01-01") == ["bus.md"]
    assert names(index, "tea", until="2020-01-01") == ["tea.txt"]
    assert names(index, "tea", without=[home / "tea.txt"]) == ["bus.md"]
    with pytest.raises(InputError, match="has no passages in"):
        index.vector_of_file(home / "none")
    assert index.search(index.vector_of_file(home / "tea.txt"), least=-1)[0].path == f"{home}/tea.txt"


def test_what_is_passed_over(home: Path) -> None:
    (home / ".git").mkdir()
    (home / ".git" / "config").write_text("x")
    (home / ".secret").write_text("x")
    (home / "notes" / "built").mkdir()
    (home / "notes" / "built" / "a.txt").write_text("x")
    (home / "keep.log").write_text("x")
    (home / "other.log").write_text("x")
    (home / ".gitignore").write_text("*.log\n!keep.log\n" + "a*" * 40 + "b\n")
    (home / "notes" / ".gitignore").write_text("/built\n")
    (home / "loop").symlink_to(home)
    (home / "notes" / "up").symlink_to("..")
    (home / "dangling").symlink_to("nowhere")
    (home / ("a" * 200)).write_text("x")
    os.mkfifo(home / "fifo")
    assert walked(home) == ["a" * 200, "keep.log", "notes/bus.md", "tea.txt"]
    assert walked(home, "a*", "*/notes/*") == ["keep.log", "tea.txt"]
    assert walked(home / "notes") == ["bus.md"]


def test_bad_files_are_listed_and_fatal_to_none(index: Index, home: Path) -> None:
    (home / "binary").write_bytes(b"\x7fELF\0\0" + os.urandom(100))
    (home / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (home / "empty.txt").touch()
    (home / "latin.txt").write_bytes("caf\xe9 au lait".encode("latin-1"))
    (home / "wide.txt").write_bytes("zebras".encode("utf-16"))
    (home / "image.png").write_bytes(b"\x89PNG")
    odd = os.fsencode(home) + b"/\xff\xfe.txt"
    with open(odd, "w") as file:
        file.write("whales sing")
    with open(home / "huge.txt", "wb") as file:
        file.truncate(1 << 30)
    os.mkdir(home / "shut", 0)
    report = index.add_files([home])
    faults = {Path(path).name: fault for path, fault in report.left_out}
    os.chmod(home / "shut", 0o700)
    assert faults.pop("broken.pdf").startswith("PDF")
    faults.pop("shut", None)  # root reads it
    assert faults == {
        "binary": "binary",
        "huge.txt": "larger than 64 MB",
        "image.png": "image, of which the model takes none",
    }
    assert index.search("cafe au lait", least=-1)[0].text == "café au lait"
    (first, *_) = index.search("whales sing", least=-1)
    assert os.fsencode(first.path or "") == odd
    assert json.loads(json.dumps(first.to_json()))["path"].endswith("\\udcff\\udcfe.txt")
    assert len(index.status().left_out) >= 4
    again = index.add_files()
    assert (again.indexed, len(again.left_out)) == (0, len(report.left_out))


def test_a_folder_that_cannot_be_read_keeps_what_is_known_of_it(index: Index, home: Path) -> None:
    index.add_files([home])
    walk = Walk([os.fsencode(home)])
    walk.faults.append((os.fsencode(home / "notes"), "Permission denied"))
    (home / "notes" / "bus.md").unlink()
    (home / "tea.txt").unlink()
    from edge_embed.search.update import update

    assert update(index._database, index._documents, walk, (), lambda count=1: None).removed == 1
    assert names(index, "bus") == ["bus.md"]


def test_a_command_reads_what_is_no_text(index: Index, home: Path) -> None:
    (home / "a b.doc").write_bytes(b"\0binary")
    (home / "b.odd").write_text("zzz")
    assert index.add_files([home]).left_out == [(f"{home}/a b.doc", "binary")]
    script = "import sys; print('whales', len(open(sys.argv[1], 'rb').read()))"
    command = f"{sys.executable} -c {json.dumps(script)} {{}}"
    report = index.add_files([home], extract=[command])
    assert (report.indexed, report.left_out) == (1, [])
    assert index.search("whales 7", least=-1)[0].text == "whales 7"
    (home / "b.odd").write_text("yyyy")
    index.add_files([home], extract=[f".odd,.other={command}"])
    assert index.search("whales 4", least=-1)[0].path == f"{home}/b.odd"
    (home / "a b.doc").write_bytes(b"\0more")
    assert index.add_files([home], extract=["false {}"]).left_out == [(f"{home}/a b.doc", "false ended with 1")]
    for wrong, message in [
        ("pandoc", "has no {} for the file"),
        ("{}", "has no {} for the file"),
        ("a 'b {}", "No closing quotation"),
    ]:
        with pytest.raises(InputError, match=message):
            index.add_files([home], extract=[wrong])


def test_html_and_pdf(tmp_path: Path) -> None:
    page = b"""<!doctype html><title>Tea &amp; more</title><script>var x = "<p>no</p>"</script><!-- no -->
    <p class="a > b">One<br>two <b>th</b>ree<li>four</p><style>p {}</style>"""
    text = extract.extract(b"/a.html", page).text
    assert [line.strip() for line in text.split("\n")] == ["Tea & more", 'b">One', "two three", "four"]
    starts = ("<", "<a", "<!--", "<script", "</p", "<a b=")
    for hostile in (*(start * 50_000 for start in starts), "<a" + "a" * 300_000):
        extract.extract(b"/a.html", hostile.encode())
    pytest.importorskip("pypdfium2", reason="the extra `files` is not installed: pip install 'edge-embed[files]'")
    found = extract.extract(b"/a.pdf", _pdf(["Tea is served", "The bus is late"]))
    assert found.unit == "page"
    assert [found.place(found.text.index(word)) for word in ("Tea", "bus")] == [1, 2]


def _pdf(pages: list[str]) -> bytes:
    """Write the smallest PDF with these words, a page each."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
    objects = ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>"]
    font = "<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    for n, words in enumerate(pages):
        stream = f"BT /F 12 Tf 20 20 Td ({words}) Tj ET"
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 50]/Resources{font}/Contents {4 + 2 * n} 0 R>>")
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj{text}endobj\n".encode()
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{at:010} 00000 n \n" for at in places)
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(out)}\n%%EOF"
    return out + (table + trailer).encode()


def test_two_that_bring_it_up_to_date(index: Index, model: Embedder, home: Path, tmp_path: Path) -> None:
    with index._database.alone(), Index.open(tmp_path / "i.db", model) as other:
        code = "import sys\nfrom filelock import FileLock, Timeout\nFileLock(sys.argv[1], timeout=0).acquire()"
        path = f"{tmp_path / 'i.db'}-lock"
        assert subprocess.run([sys.executable, "-c", code, path], stderr=subprocess.DEVNULL).returncode
        other.add([{"id": 1, "text": "items go in meanwhile"}])
        with pytest.raises(SearchIndexError, match="is brought up to date by another process"):
            other.add_files([home])
    with pytest.raises(InputError, match="there is no file or folder"):
        index.add_files([home / "none"])


def test_images_where_the_model_takes_them(tiny_tokenizer: Path, home: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="the extra `images` is not installed")
    for name, level in (("dark.png", 10), ("light.png", 240)):
        image.new("L", (8, 8), level).save(home / name)
    (home / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    spec = replace(fake_model(tiny_tokenizer).spec, image=ImageSpec(size=(8, 8)))
    tokenizer, vision = TextTokenizer(tiny_tokenizer, spec.max_tokens), FakeImageBackend(spec.dim)
    model = Embedder.from_parts(spec, tokenizer, FakeBackend(spec.dim), vision)
    with Index.open(":memory:", model) as index:
        report = index.add_files([home])
        assert (report.indexed, report.passages) == (4, 4)
        ((path, fault),) = report.left_out
        assert Path(path).name == "broken.png"
        assert "image" in fault
        (first, *_) = index.search({"image": str(home / "light.png")}, least=-1)
        assert Path(first.path or "").name in ("light.png", "dark.png")  # one direction, another length
        assert (first.text, first.line) == (Path(first.path or "").name, None)
