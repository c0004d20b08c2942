"""A small Hub on this machine: as much of its protocol as huggingface_hub speaks to it, and faults on demand.

with HubServer() as hub:
    hub.add("org/name", files_below(folder))
    hub.fail("GET", "/lfs/", status=500, times=2)
"""

import re
import threading
from collections.abc import Mapping
from http.server import ThreadingHTTPServer

from support.hub_protocol import Fault, Handler, Hold, Request
from support.hub_repository import Files, Repository, is_large, oid


class HubServer(ThreadingHTTPServer):
    """Repositories, large objects, faults to come and requests that came.

    announced: large objects that will come through Xet, whose chunks are not put together here.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: Files = {}
        self.announced: Files = {}
        self.faults: list[Fault] = []
        self.holds: list[Hold] = []
        self.requests: list[Request] = []
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        """For HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage_url(self) -> str:
        """Another host, as that of large objects is; tokens must not be sent there."""
        return f"http://localhost:{self.server_port}"

    def add(self, name: str, files: Mapping[str, bytes], *, kind: str = "dataset", **flags: bool) -> Repository:
        """A repository with one commit."""
        repository = Repository(kind, name, **flags)
        repository.commit(dict(files))
        self.objects |= {oid(path, content): content for path, content in files.items() if is_large(path)}
        self.repositories[kind, name] = repository
        return repository

    def fail(
        self, method: str, path: str, *, status: int | None, times: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        """Let the next requests whose path has such a part fail."""
        self.faults.append(Fault(method, path, status, times, headers or {}))

    def hold(self, path: str, *, method: str = "GET") -> Hold:
        """Let the answers to requests whose path has such a part wait."""
        self.holds.append(Hold(path, method))
        return self.holds[-1]

    def next_fault(self, method: str, path: str) -> Fault | None:
        """The fault that befalls a request."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def paths(self, method: str, part: str = "") -> list[str]:
        """What was asked for."""
        return [request.path for request in self.requests if request.method == method and part in request.path]

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed hang up; that is no news."""
