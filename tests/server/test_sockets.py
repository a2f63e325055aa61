"""Sockets: their rights, what was there before them, and what is handed over."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from edge_embed import InputError
from edge_embed.server import sockets
from edge_embed.server.settings import Settings


def settings(path: Path) -> Settings:
    return Settings(models=[], uds=path)


def test_a_file_is_for_its_user_and_goes_with_the_service(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with sockets.listening(settings(path)) as (sock,):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert sockets.urls([sock]) == [f"unix:{path}"]
        assert not sockets.is_public([sock])
        sock.close()
    assert not path.exists()


def test_a_file_that_somebody_else_made_since_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with sockets.listening(settings(path)) as (sock,):
        sock.close()
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    with sockets.listening(settings(path)) as (sock,):
        sock.close()


def test_a_live_socket_and_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen()
        with pytest.raises(InputError, match="another server listens there"), sockets.listening(settings(path)):
            pass
    path.unlink()
    path.write_text("precious")
    with pytest.raises(InputError, match="exists and is no socket"), sockets.listening(settings(path)):
        pass
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    with pytest.raises(InputError, match="too long"), sockets.listening(settings(path)):
        pass


def test_port_0_is_one_port_for_all_addresses_of_a_name() -> None:
    found = sockets.bind_address("localhost", 0)
    try:
        assert len({sock.getsockname()[1] for sock in found}) == 1
        assert not sockets.is_public(found)
        assert all(url.startswith("http://") for url in sockets.urls(found))
    finally:
        for sock in found:
            sock.close()


def test_every_address_is_public() -> None:
    found = sockets.bind_address("0.0.0.0", 0)
    assert sockets.is_public(found)
    for sock in found:
        sock.close()


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(InputError, match="cannot be looked up"):
        sockets.bind_address("nowhere.invalid", 0)


def test_what_is_handed_over_is_for_this_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(sockets, "FIRST", listener.fileno())
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert sockets.handed_over() == []
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    (found,) = sockets.handed_over()
    assert found.getsockname() == listener.getsockname()
    assert "LISTEN_FDS" not in os.environ
    listener.detach()
    found.close()


def test_the_users_own_socket_beside_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "r"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    settings = Settings(models=[], port=0)
    with sockets.listening(settings) as first:
        assert sockets.urls(first)[1:] == [f"unix:{folder / 'edge-embed'}"]
        assert (folder / "edge-embed").stat().st_mode & 0o777 == 0o600
        with sockets.listening(settings) as second:
            assert len(second) == 1  # the first has it
            for sock in second:
                sock.close()
        assert (folder / "edge-embed").exists()
        for sock in first:
            sock.close()
    assert not (folder / "edge-embed").exists()
    folder.chmod(0o755)
    with sockets.listening(settings) as public:
        assert len(public) == 1
        public[0].close()
