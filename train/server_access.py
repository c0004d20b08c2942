"""How clients and servers of a policy name an address, and agree on a token."""

import os

from millrace.embodiments import Remedy
from millrace.train.errors import SettingsError


def read_token(name: str | None) -> str | None:
    """The token in an environment variable; None where none is named.

    Raises:
        SettingsError: the variable is not set, or is empty.
    """
    if name is None:
        return None
    if token := os.environ.get(name):
        return token
    raise SettingsError(
        f"--api-token-env {name}: the environment has no variable {name}, or an empty one. ",
        Remedy(f"Set it: export {name}=$(openssl rand -hex 16); a client must have the same"),
    )


def join_address(host: str, port: int) -> str:
    """HOST:PORT, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
