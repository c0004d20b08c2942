"""Addresses and tokens of a policy's server, judged before a model is loaded."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from millrace.commands.evaluate import Evaluate
from millrace.train.errors import SettingsError
from millrace.train.evaluate_settings import EvaluateSettings, ServerAddress
from millrace.train.serve import ServeSettings
from millrace.train.server_access import read_token


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="NOT TESTED: this machine has no IPv6")


def test_a_token_is_read_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_TOKEN", "secret")
    assert read_token("POLICY_TOKEN") == "secret"
    assert read_token(None) is None


@pytest.mark.parametrize("value", [None, ""])
def test_a_token_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """An empty one would let everybody in."""
    monkeypatch.setenv("POLICY_TOKEN", value or "")
    if value is None:
        monkeypatch.delenv("POLICY_TOKEN")
    with pytest.raises(SettingsError, match=r"--api-token-env POLICY_TOKEN: .*export POLICY_TOKEN="):
        read_token("POLICY_TOKEN")


@pytest.mark.parametrize(
    ("text", "host", "is_ipv6"),
    [("127.0.0.1:5555", "127.0.0.1", False), ("robot:5555", "robot", False), ("[::1]:5555", "::1", True)],
)
def test_an_address_reads_as_it_is_written(text: str, host: str, is_ipv6: bool) -> None:
    address = ServerAddress.parse(text)
    assert (address.host, address.port, address.is_ipv6) == (host, 5555, is_ipv6)
    assert str(address) == text


@pytest.mark.parametrize("text", ["::1:5555", "5555", ":5555", "[::1]", "a:0"])
def test_an_address_that_can_be_read_in_two_ways_or_none_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError, match=r"takes HOST:PORT, for example 127.0.0.1:5555 or \[::1\]:5555"):
        ServerAddress.parse(text)


def test_a_token_goes_with_a_server(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="it goes with"):
        EvaluateSettings(dataset=tmp_path, checkpoints=("c",), api_token_env="POLICY_TOKEN")
    with pytest.raises(SettingsError, match=r"token_file.*it goes with"):
        Evaluate(paths=("c", str(tmp_path)), token_file=tmp_path / "token").settings()


def test_a_token_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = Evaluate(paths=(str(tmp_path),), server="127.0.0.1:5555", token_file=Path("token"))
    with pytest.raises(SettingsError, match="token"):
        command.settings()
    Path("token").write_text("3f9a7c\n")
    found = command.settings()
    assert found.token_file == tmp_path / "token"
    assert read_token(found.api_token_env, found.token_file) == "3f9a7c"
    with pytest.raises(SettingsError, match="token"):
        replace(command, api_token_env="POLICY_TOKEN").settings()


@needs_ipv6
def test_an_ipv6_host_is_told_from_an_ipv4_one_and_a_taken_port_is_named() -> None:
    assert ServeSettings(checkpoint="c").ipv6_host is None
    assert ServeSettings(checkpoint="c", host="::1").ipv6_host == "::1"
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"cannot listen on \[::1\]:{port}: Address already in use"):
            ServeSettings(checkpoint="c", host="::1", port=port).check_address()


@pytest.mark.parametrize(
    ("host", "token", "is_open"),
    [
        ("127.0.0.1", None, False),
        ("0.0.0.0", None, True),
        ("0.0.0.0", "POLICY_TOKEN", False),
        pytest.param("::1", None, False, marks=needs_ipv6),
        pytest.param("::", None, True, marks=needs_ipv6),
    ],
)
def test_a_server_for_others_without_a_token_is_open_to_all(host: str, token: str | None, is_open: bool) -> None:
    assert ServeSettings(checkpoint="c", host=host, api_token_env=token).is_open is is_open
