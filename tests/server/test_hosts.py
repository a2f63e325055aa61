"""By which names a server without keys may be called: a site whose name leads here all of a sudden gets nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.service import running

LOCAL = [
    "127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "[fe80::1%25en0]", "192.168.1.7:80", "localhost:8080", "LOCALHOST.",
    "raspberrypi", "raspberrypi.local:8080", "embed.localhost", "host.docker.internal:8080", "pi.home.arpa", "x.lan",
]  # fmt: skip
FOREIGN = ["evil.example:8080", "evil.example.", "127.0.0.1.evil.example", "local.evil.example", "1.2.3.4.5", "a.b:c:d"]


def test_names_of_this_machine_and_of_others(tiny_tokenizer: Path) -> None:
    with running(tiny_tokenizer, allow_host=["Embed.Example.org"]) as service:
        for host in [*LOCAL, "embed.example.ORG:443", "embed.example.org."]:
            assert service.ask(["tea"], headers={"Host": host})[0] == 200, host
        for host in FOREIGN:
            for path, method in [("/vectors", "POST"), ("/cards", "GET"), ("/metrics", "GET")]:
                assert service.ask(["tea"], path, method, headers={"Host": host})[0] == 403, (host, path)
        status, _, body = service.ask(["tea"], headers={"Host": FOREIGN[0]})
        assert (status, body["oops"]["reason"]) == (403, "forbidden")
        assert "start it with --allow-host NAME, or with --api-key-file" in body["oops"]["message"]
        assert [service.send("GET", "/livez", headers={"Host": FOREIGN[0]})[0]] == [200]
        assert service.metric('edge_embed_rejected_total{reason="forbidden"}') == 3 * len(FOREIGN) + 1


@pytest.mark.parametrize("host", [*LOCAL[:2], *FOREIGN])
def test_with_a_key_any_name_will_do(tiny_tokenizer: Path, tmp_path: Path, host: str) -> None:
    file = tmp_path / "keys"
    file.write_text("alpha")
    with running(tiny_tokenizer, api_key_file=file) as service:
        assert service.ask(["tea"], headers={"Host": host, "api-key": "alpha"})[0] == 200


def test_who_sends_no_host_is_no_browser(tiny_tokenizer: Path) -> None:
    with running(tiny_tokenizer) as service, service.connect() as connection:
        connection.sendall(b"GET /cards HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
