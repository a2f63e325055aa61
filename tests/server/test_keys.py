"""Keys: where they come from, how clients send them, and what is open without."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_embed import InputError
from edge_embed.server.keys import Keys

from support.service import running


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer alpha"}, 200),
        ({"authorization": "bearer beta"}, 200),
        ({"api-key": "alpha"}, 200),
        ({"x-api-key": "beta", "Authorization": "Bearer none"}, 200),
        ({"Authorization": "alpha"}, 200),
        ({"Authorization": "Basic alpha"}, 401),
        ({"Authorization": "Bearer alph"}, 401),
        ({"x-api-key": "# of the first machine"}, 401),
        ({"x-api-key": ""}, 401),
        ({}, 401),
    ],
)
def test_who_is_let_in(tiny_tokenizer: Path, tmp_path: Path, headers: dict[str, str], status: int) -> None:
    file = tmp_path / "keys"
    file.write_text("# of the first machine\nalpha\n\n  beta  \n")
    with running(tiny_tokenizer, api_key_file=file) as service:
        assert [service.ask(["tea"], headers=headers)[0], service.send("GET", "/cards", headers=headers)[0]] == [
            status
        ] * 2
        assert service.send("GET", "/metrics", headers=headers)[0] == status
        assert [service.send("GET", path)[0] for path in ("/livez", "/readyz", "/health")] == [200, 200, 200]


def test_a_refusal_says_how(tiny_tokenizer: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("alpha")
    with running(tiny_tokenizer, api_key_file=file) as service:
        _, headers, body = service.ask(["tea"])
    assert headers["www-authenticate"] == "Bearer"
    assert body["oops"]["message"].startswith("this server asks for a key: send it as Authorization: Bearer KEY")


def test_credentials_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "api-keys").write_text("gamma")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    keys = Keys(None)
    assert keys
    keys.check([(b"x-api-key", b"gamma")])


def test_a_credential_that_may_not_be_read_is_no_open_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "api-keys").mkdir()  # as unreadable as a file of another user, for root too
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(InputError, match=r"the keys cannot be read: .*api-keys"):
        Keys(None)

    def refuse(path: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match=r"the keys cannot be read: .*api-keys"):
        Keys(None)


def test_files_that_are_none(tmp_path: Path) -> None:
    assert not Keys(None)
    with pytest.raises(InputError, match=r"the keys cannot be read: .*give a file with one key a line"):
        Keys(tmp_path / "nowhere")
    (tmp_path / "empty").write_text("# none\n")
    with pytest.raises(InputError, match="empty holds no key: write one a line"):
        Keys(tmp_path / "empty")


def test_a_file_that_is_spoilt_later_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys"
    file.write_text("alpha")
    keys = Keys(file)
    file.write_text("")
    keys.reload()
    keys.check([(b"x-api-key", b"alpha")])
    assert "the former keys stay" in caplog.text
