"""A hub of this machine, and a client of it in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.hub_server import GRAPHS, Client, HubServer


@pytest.fixture(scope="module")
def _hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubServer, Client]]:
    with HubServer() as server, Client(server, tmp_path_factory.mktemp("home")) as client:
        yield server, client


@pytest.fixture
def server(_hub: tuple[HubServer, Client]) -> Iterator[HubServer]:
    """Return a hub that has the repository user/model, with nothing asked yet and everything in order."""
    server = _hub[0]
    server.push("user/model", GRAPHS)
    server.forget()
    yield server
    server.down, server.bytes_per_second, server.licence = "", 0, "apache-2.0"
    server.gated.clear()
    server.faults.clear()


@pytest.fixture
def client(_hub: tuple[HubServer, Client]) -> Client:
    return _hub[1]
