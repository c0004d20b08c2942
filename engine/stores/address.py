"""Addresses in object stores, such as s3://bucket/folder."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from millrace.embodiments import Remedy
from millrace.engine.errors import RecipeError

# A Path keeps only one of the two slashes; one letter is a drive of Windows.
ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/(?P<rest>.*)", re.DOTALL)
HUB, LOCAL = "hf", ("file", "local")
SAME_SCHEME = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
# Schemes whose addresses have a container or the name of a user before the @, which is no secret.
WITH_NAMES = ("abfs", "abfss", "hdfs", "sftp", "smb", "ssh", "wasb", "wasbs")
# Before a port there may be one.
COLON = re.compile(r":(?!\d+$)")
WEB = ("http", "https")
NO_SECRETS = Remedy("leave credentials to the environment, as docs/stores.md says")


@dataclass(frozen=True)
class StoreAddress:
    """A folder, or one object, of a store.

    root: the bucket, container or host. prefix: the rest, without slashes at its ends; empty for all of a bucket.

    >>> print(StoreAddress("s3", "robots", "aloha").join("meta/info.json"))
    s3://robots/aloha/meta/info.json
    """

    scheme: str
    root: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.root}/{self.prefix}" if self.prefix else f"{self.scheme}://{self.root}"

    @property
    def name(self) -> str:
        """The last part, as a folder would be called."""
        return (self.prefix or self.root).rpartition("/")[2]

    @property
    def parent(self) -> "StoreAddress":
        """The folder that holds this one; a bucket's is itself."""
        return replace(self, prefix=self.prefix.rpartition("/")[0])

    def join(self, name: str) -> "StoreAddress":
        """What is called so below this folder."""
        return replace(self, prefix=f"{self.prefix}/{name}".strip("/")) if name else self


def is_store_address(name: str | Path) -> bool:
    """Whether a name has the form of an address in a store: a scheme that is neither the Hub's nor a file's."""
    found = ADDRESS.match(str(name))
    return found is not None and found["scheme"].lower() not in (HUB, *LOCAL)


def parse_store_address(name: str | Path) -> StoreAddress:
    """Parse an address, with one slash or two after its scheme.

    Raises:
        RecipeError: it has credentials, a query or no bucket; no message repeats it with them.
    """
    found = ADDRESS.match(str(name))
    assert found is not None, "the caller asks is_store_address"
    scheme, rest = found["scheme"].lower(), found["rest"].lstrip("/")
    scheme = SAME_SCHEME.get(scheme, scheme)
    if scheme in WEB:
        advice = Remedy("write hf://ORG/NAME for a dataset on the Hub, and s3://BUCKET/FOLDER for one in a store")
        raise RecipeError("a web address is no place of a dataset: ", advice)
    root, _, prefix = rest.partition("/")
    if COLON.search(root.rpartition("@")[2]) and not root.startswith("arn:"):
        # A secret key may hold a slash, so that its @ is behind what looks like the bucket.
        raise RecipeError(f"the {scheme} address holds credentials, or a bucket's name with a colon: ", NO_SECRETS)
    users, at, host = root.rpartition("@")
    if at and (scheme not in WITH_NAMES or ":" in users):
        raise RecipeError(f"the {scheme} address of {host} holds credentials: ", NO_SECRETS, got=f"{scheme}://{host}")
    plain, mark, _ = rest.partition("?")
    if mark:
        problem = f"{scheme}://{plain} is followed by a query, which may hold a signature: "
        raise RecipeError(problem, Remedy("name the bucket and the folder alone; ", NO_SECRETS), got=plain)
    if {".", ".."}.intersection(prefix.split("/")):
        raise RecipeError(f"{scheme}://{rest} leads through . or ..: ", Remedy("write the folder without them"))
    if not root or not root.isprintable():
        raise RecipeError(f"{scheme}:// names no bucket: ", Remedy(f"write {scheme}://BUCKET/FOLDER"))
    return StoreAddress(scheme, root, "/".join(part for part in prefix.split("/") if part))


def local_path(name: str | Path) -> Path | None:
    """The folder that a file:// address names; None where it is none.

    >>> local_path("file:///data/my%20robot")
    PosixPath('/data/my robot')
    """
    found = ADDRESS.match(str(name))
    if found is None or found["scheme"].lower() not in LOCAL:
        return None
    rest = found["rest"]  # without the first slash
    host, _, path = rest[1:].partition("/") if rest.startswith("/") else ("", "", rest)
    return Path(unquote(f"/{path}" if host in ("", "localhost") else f"/{host}/{path}"))
