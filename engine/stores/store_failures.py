"""What an error of a store means: whether it may pass, and what to do about it; no server's text is repeated."""

import errno
import re
from dataclasses import dataclass
from typing import Literal

from millrace.embodiments import Message, Remedy
from millrace.engine.errors import walk_causes
from millrace.engine.stores.address import StoreAddress

Kind = Literal["passing", "throttled", "missing", "no-bucket", "denied", "anonymous", "exists", "full", "other"]

PASSING = (408, 500, 502, 503, 504)
THROTTLED = ("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "ServerBusy")
PASSING_CODES = ("InternalError", "RequestTimeout", "ServiceUnavailable", "OperationTimedOut", "IncompleteBody")
NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "ProfileNotFound")
DENIED = ("AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
EXISTS = ("PreconditionFailed", "ConditionalRequestConflict", "BlobAlreadyExists")
NETWORK = ("aiohttp", "botocore", "requests", "urllib3", "azure", "google")
# Of libraries, by name, as none of them needs to be installed.
NETWORK_ERRORS = re.compile(
    r"(Connect|Timeout|HTTPClient|IncompleteRead|ClientPayload|ServerDisconnected|EndpointConnection|ResponseParser|"
    r"ResponseStreaming|ClientOS|ContentLength|FlexibleChecksum|TransportError|ServiceRequest|ServiceResponse|SSLError)"
)
FULL = (errno.ENOSPC, errno.EDQUOT)
# All that is repeated of what a server says: the rest may hold anything, a key that was sent among it.
KNOWN = (*THROTTLED, *PASSING_CODES, *DENIED, *NO_BUCKET, *EXISTS, "NoSuchKey", "BlobNotFound", "InvalidObjectState")
# Variables that credentials come from.
SETUP = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or log in with `gcloud auth application-default login`",
}


@dataclass(frozen=True)
class Failure:
    """What failed. status: of HTTP; code: the store's own, such as NoSuchBucket; None and empty where it has none."""

    kind: Kind
    status: int | None = None
    code: str = ""
    reason: str = ""

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.kind in ("passing", "throttled")

    def explain(self, address: StoreAddress) -> Message:
        """One line: what is wrong with an address, and what to do."""
        told = f" ({self.code or self.status})" if self.code or self.status else ""
        later = Remedy("the same command goes on later")
        match self.kind:
            case "passing":
                problem = f"{address} could not be reached{told or f' ({self.reason})'}; "
                return Message(problem, later)
            case "throttled":
                return Message(f"the store limits how much it is asked{told}, at {address}; ", later)
            case "no-bucket":
                return Message(f"there is no bucket {address.root}{told}: ", Remedy(f"check the name in {address}"))
            case "missing":
                return Message(f"there is no {address}{told}: ", Remedy("check the name"))
            case "denied":
                return Message(f"access to {address} is denied{told}: ", _advise(address, " of somebody who may"))
            case "anonymous":
                return Message(f"there are no credentials for {address}: ", _advise(address))
            case "exists":
                return Message(f"{address} is there already, or was changed meanwhile{told}")
            case "full":
                advice = Remedy("make some, then the same command goes on")
                return Message(f"no space is left on the disk for {address}: ", advice)
            case _:
                return Message(f"{address}: {self.reason}{told}")


def _advise(address: StoreAddress, whose: str = "") -> Remedy:
    names = SETUP.get(address.scheme, "as the store's library reads them")
    return Remedy(f"give credentials{whose} in the environment: {names}")


def classify(error: BaseException) -> Failure:
    """Understand an error of fsspec or of a library behind it."""
    causes = list(walk_causes(error))
    status = next((found for cause in causes if (found := _status(cause)) is not None), None)
    code = next(filter(None, map(_code, causes)), "")
    return Failure(_kind(causes, status, code), status, code, type(causes[-1]).__name__)


def _kind(causes: list[BaseException], status: int | None, code: str) -> Kind:
    names = {type(cause).__name__ for cause in causes}
    if any(isinstance(cause, OSError) and cause.errno in FULL for cause in causes):
        return "full"
    if names.intersection(NO_CREDENTIALS):
        return "anonymous"
    if code in THROTTLED or status == 429:
        return "throttled"
    if code in EXISTS or status == 412 or any(isinstance(cause, FileExistsError) for cause in causes):
        return "exists"
    if status in PASSING or code in PASSING_CODES:
        return "passing"
    if code in DENIED or status in (401, 403) or any(isinstance(cause, PermissionError) for cause in causes):
        return "denied"
    if code in NO_BUCKET:
        return "no-bucket"
    if status == 404 or any(isinstance(cause, FileNotFoundError) for cause in causes):
        return "missing"
    return "passing" if any(map(_is_network, causes)) else "other"


def _is_network(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    library = type(error).__module__.partition(".")[0]
    return library in (*NETWORK, "fsspec", "gcsfs", "http") and NETWORK_ERRORS.search(type(error).__name__) is not None


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    told = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    for value in (told, getattr(error, "status_code", None), getattr(error, "status", None), _http_code(error)):
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


def _http_code(error: BaseException) -> object:
    code = getattr(error, "code", None)
    return int(code) if isinstance(code, str) and code.isdigit() else code


def _code(error: BaseException) -> str:
    """A store's code of an error, where it is a known one."""
    response = getattr(error, "response", None)
    told = response.get("Error", {}).get("Code") if isinstance(response, dict) else getattr(error, "error_code", None)
    return told if isinstance(told, str) and told in KNOWN else ""
