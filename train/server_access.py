"""How clients and servers of a policy name an address, and agree on a token."""

import os
from pathlib import Path

from millrace.embodiments import Remedy
from millrace.train.errors import SettingsError

MAX_TOKEN_BYTES = 4096


def read_token(name: str | None, file: Path | None = None) -> str | None:
    """The token in an environment variable or a file; None where neither is named.

    Raises:
        SettingsError: both are named, the variable is not set, or the file cannot be read; or they hold no token.
    """
    if file is not None:
        return _read_token_file(file, is_double=name is not None)
    if name is None:
        return None
    if token := os.environ.get(name):
        return token
    raise SettingsError(
        f"--api-token-env {name}: the environment has no variable {name}, or an empty one. ",
        Remedy(f"Set it: export {name}=$(openssl rand -hex 16); a client must have the same"),
    )


def _read_token_file(file: Path, *, is_double: bool) -> str:
    if is_double:
        raise SettingsError("--api-token-env and --token-file both name a token; ", Remedy("give one of them"))
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_TOKEN_BYTES + 1)
        token = content.decode().strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"--token-file {file} cannot be read: {error}", file=file) from error
    if not token or len(content) > MAX_TOKEN_BYTES or not token.isprintable():
        advice = Remedy(f"Write one: (umask 077; openssl rand -hex 16 > {file}); a client must have the same")
        raise SettingsError(f"--token-file {file} holds no token of one line. ", advice, file=file)
    return token


def join_address(host: str, port: int) -> str:
    """HOST:PORT, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
