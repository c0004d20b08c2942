"""Call the Hugging Face Hub: try again after transient errors, and explain all others."""

import errno
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from millrace.embodiments import Message, Remedy
from millrace.engine.errors import HubError, walk_causes

RepoKind = Literal["dataset", "model"]
Result = TypeVar("Result")

# Seconds before each further try; huggingface_hub itself tries some calls again, others not.
WAITS = (1.0, 2.0, 4.0)
# A longer wait than the Hub asks for is no use, a much longer one is the user's to decide.
MAX_WAIT_SECONDS = 300.0
TRANSIENT = (408, 429, 500, 502, 503, 504)
FULL = (errno.ENOSPC, errno.EDQUOT)
# Most files are small, and asking for one after the other would take its time.
NUM_CONNECTIONS = 16
HTTP_LIBRARIES = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2")


@dataclass(frozen=True)
class HubName:
    """A repository, of datasets or models, and its revision."""

    kind: RepoKind
    repo: str
    revision: str | None = None

    @property
    def url(self) -> str:
        """The repository's page."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo}"


def call_hub(work: Callable[[], Result], about: HubName, *, waits: Sequence[float] = WAITS) -> Result:
    """Run `work`, which calls the Hub; try again after each of the waits, in seconds, if its error may be transient.

    Raises:
        HubError: it failed; says what is wrong, and what to do.
    """
    for wait in (*waits, None):
        try:
            return work()
        except Exception as error:
            if wait is None or not is_transient(error):
                raise HubError(explain_hub_error(error, about)) from error
            time.sleep(min(max(wait, _retry_after_seconds(error)), MAX_WAIT_SECONDS))
    raise AssertionError("the last try returns or raises")


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later, after this error."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if any(isinstance(cause, OfflineModeIsEnabled) or _is_full(cause) for cause in walk_causes(error)):
        return False
    status = _status(error)
    return status in TRANSIENT if status is not None else any(map(_is_network, walk_causes(error)))


def explain_hub_error(error: BaseException, about: HubName) -> str:
    """Explain an error in one line without secrets."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RevisionNotFoundError,
    )

    causes = list(walk_causes(error))
    kinds = tuple(type(cause) for cause in causes)

    def has(kind: type[BaseException], but: tuple[type[BaseException], ...] = ()) -> bool:
        return any(issubclass(found, kind) and not issubclass(found, but) for found in kinds)

    if any(map(_is_full, causes)):
        return _explain_full_disk()
    if has(OfflineModeIsEnabled):
        problem = f"{about.repo} is on the Hub, and HF_HUB_OFFLINE forbids to ask it; "
        return Message(problem, Remedy("unset that, or name a local folder"))
    if has(GatedRepoError):
        return Message(f"{about.repo} is gated: ", Remedy(f"ask for access at {about.url}, then ", login_advice()))
    if has(RevisionNotFoundError):
        problem = f"{about.repo} on the Hub has no revision '{about.revision}'; "
        return Message(problem, Remedy(f"see {about.url}/tree/main for what it has"))
    if has(EntryNotFoundError, but=(LocalEntryNotFoundError,)):
        return f"{about.repo}@{about.revision} on the Hub lacks {_requested_file(error)}, which its metadata names"
    return _explain_status(error, about)


def _explain_status(error: BaseException, about: HubName) -> str:
    from huggingface_hub import get_token

    status = _status(error)
    if status == 401 and get_token() is not None:
        return Message(f"the Hub refuses the token (401, {about.repo}); ", login_advice())
    if status in (401, 404):
        problem = f"the Hub has no {about.kind} {about.repo}, or it is private: "
        return Message(problem, Remedy("check the name, and ", login_advice()))
    if status == 403:
        problem = f"the Hub does not allow this with {about.repo} (403): your token lacks the right to it; "
        return Message(problem, login_advice())
    if status == 429:
        wait = _retry_after_seconds(error)
        when = f"in {wait:.0f} s" if wait else "in a few minutes"
        problem = f"the Hub limits how much it is asked (429, {about.repo}); "
        return Message(problem, Remedy(f"the same command goes on {when}"))
    if status is not None:
        later = "the same command goes on later" if status in TRANSIENT else f"see {about.url}"
        return Message(f"the Hub answered {status} for {about.repo} ({_first_line(error)}); ", Remedy(later))
    if any(map(_is_network, walk_causes(error))):
        problem = f"the Hub could not be reached for {about.repo} ({_first_line(error)}); "
        return Message(problem, Remedy("with a connection the same command goes on"))
    return f"{about.repo} on the Hub: {type(error).__name__}: {_first_line(error)}"


def _explain_full_disk() -> str:
    from huggingface_hub import constants

    advice = "make some, or let HF_HOME name a folder elsewhere, then the same command goes on"
    return Message(f"no space is left on the disk of {constants.HF_HUB_CACHE}; ", Remedy(advice))


def login_advice() -> Remedy:
    """Advice where access is refused."""
    from huggingface_hub import get_token

    if get_token() is None:
        return Remedy("log in, as there is no token: `hf auth login`, or set HF_TOKEN")
    return Remedy("log in with a token that may: `hf auth login`, or set HF_TOKEN")


def _response(error: BaseException) -> object | None:
    """The answer of the first error that holds one."""
    found = (getattr(cause, "response", None) for cause in walk_causes(error))
    return next((response for response in found if response is not None), None)


def _status(error: BaseException) -> int | None:
    status = getattr(_response(error), "status_code", None)
    return status if isinstance(status, int) else None


def _retry_after_seconds(error: BaseException) -> float:
    """How long the Hub asks to wait; 0 where it does not say."""
    headers = getattr(_response(error), "headers", None) or {}
    limit = re.search(r"\bt=(\d+)", headers.get("ratelimit", ""))
    after = headers.get("retry-after", "")
    return float(limit[1]) if limit else float(after) if after.isdigit() else 0.0


def _requested_file(error: BaseException) -> str:
    """The requested file."""
    url = str(getattr(_response(error), "url", ""))
    return url.partition("/resolve/")[2].partition("/")[2].partition("?")[0] or "a file"


def _is_full(error: BaseException) -> bool:
    return (isinstance(error, OSError) and error.errno in FULL) or "No space left on device" in str(error)


def _is_network(error: BaseException) -> bool:
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, (ConnectionError, TimeoutError)) or library in HTTP_LIBRARIES


def _first_line(error: BaseException) -> str:
    """A message without what follows a URL's question mark: the Hub signs URLs; and without tokens."""
    from huggingface_hub import get_token

    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    line = line.replace(get_token() or "\n", "hf_...")
    return re.sub(r"hf_\w+", "hf_...", re.sub(r"\?\S+", "", line)).strip().rstrip(".")


def list_files(name: HubName) -> dict[str, int]:
    """Bytes of each file of a repository, by path."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    entries = HfApi().list_repo_tree(name.repo, repo_type=name.kind, revision=name.revision, recursive=True)
    return {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}


def map_at_once(call: Callable[..., Result], *items: Iterable[Any]) -> list[Result]:
    """Call for each item, or for those at the same place of several, many at a time.

    Ctrl-C does not wait for the calls under way, which may wait for the Hub.
    """
    pool = ThreadPoolExecutor(NUM_CONNECTIONS)
    try:
        found = list(pool.map(call, *items))
    except Exception:
        pool.shutdown()
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return found
