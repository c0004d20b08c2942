"""How the local Hub of the tests answers: the part of the Hub's protocol that huggingface_hub needs."""

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from support.hub_repository import Files, Repository, entry, is_large, oid, upload_mode

if TYPE_CHECKING:
    from support.hub_server import HubServer

PAGE = 5
TOKEN = "hf_TestTokenThatMustNotLeak"
READ_TOKEN = "hf_TestTokenThatOnlyReads"
MAX_HOLD_SECONDS = 300.0
SIGNATURE = "X-Amz-Signature=SignatureThatMustNotLeak"


@dataclass
class Fault:
    """What becomes of the next requests; status None: the connection is cut within the answer."""

    method: str
    path: str
    status: int | None
    times: int
    headers: Mapping[str, str]


class Hold:
    """Requests whose path has such a part wait until they are released."""

    def __init__(self, path: str, method: str) -> None:
        self.path, self.method = path, method
        self.arrived, self.released = Event(), Event()

    def wait(self) -> None:
        """Within a request: tell that it came, and wait."""
        self.arrived.set()
        assert self.released.wait(timeout=MAX_HOLD_SECONDS), f"{self.path} was never released"


@dataclass(frozen=True)
class Request:
    """A request that was answered."""

    method: str
    path: str
    token: str | None


class _Refused(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message}


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: "HubServer"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(Request(method, path, token))
        for hold in self.server.holds:
            if method == hold.method and hold.path in path:
                hold.wait()
        self.fault = self.server.next_fault(method, path)
        try:
            if self.fault is not None and self.fault.status is not None:
                self._send(self.fault.status, b'{"error": "injected"}', self.fault.headers)
                return
            with self.server.lock:
                status, content, headers = self._route(method, path, token)
            self._send(status, content, headers)
        except _Refused as refused:
            self._send(refused.status, b"", refused.headers)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        if self.fault is not None and self.fault.status is None and len(content) < 2:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault is None or self.fault.status is not None:
            self.wfile.write(content)
            return
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def _route(self, method: str, path: str, token: str | None) -> tuple[int, bytes, dict[str, str]]:
        if found := re.fullmatch(r"/lfs/(\w+)", path):
            return self._large_object(method, found[1])
        if "/xet-write-token/" in path or path.startswith("/xet/"):
            return self._xet(method, path, token)
        if path == "/api/repos/create":
            return self._create(token)
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/(dataset|model)s/([^/]+/[^/]+)/(refs|tag)(?:/(.+))?", path):
            return self._refs(self._find(found[1], found[2], token), method, found[4], token)
        if found := re.fullmatch(r"/api/(dataset|model)s/([^/]+/[^/]+)(?:/(\w[\w-]*)/([^/]+)(?:/(.*))?)?", path):
            repository = self._find(found[1], found[2], token)
            return self._api(repository, found[3] or "revision", found[4] or "main", token)
        if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self._check_writer(token)
            return _json({"transfer": "basic", "objects": list(self._batch())})
        if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repository = self._find("dataset" if found[1] else "model", found[2], token)
            return self._resolve(repository, found[3], found[4], token)
        raise _Refused(404, message=f"no such endpoint: {method} {path}")

    def _find(self, kind: str, name: str, token: str | None) -> Repository:
        self._check_token(token)
        repository = self.server.repositories.get((kind, name))
        if repository is None or (repository.private and token is None):
            raise _Refused(401 if token is None else 404, "RepoNotFound", "Repository not found")
        return repository

    def _check_writer(self, token: str | None) -> None:
        self._check_token(token)
        if token != TOKEN:
            raise _Refused(401 if token is None else 403, message="You don't have the right to write here")

    def _check_token(self, token: str | None) -> None:
        if token not in (None, TOKEN, READ_TOKEN):
            raise _Refused(401, message="Invalid credentials in Authorization header")

    def _api(
        self, repository: Repository, verb: str, revision: str, token: str | None
    ) -> tuple[int, bytes, dict[str, str]]:
        sha = _commit_of(repository, revision)
        files = repository.commits[sha]
        if verb == "revision":
            siblings = [{"rfilename": path} for path in files]
            return _json({"id": repository.name, "sha": sha, "private": repository.private, "siblings": siblings})
        if verb == "tree":
            return self._tree(files)
        if verb == "paths-info":
            wanted = _values(self.body, "paths")
            return _json([entry(path, files[path]) for path in wanted if path in files])
        self._check_writer(token)
        if verb == "preupload":
            return _json({"files": [upload_mode(item["path"], files) for item in json.loads(self.body)["files"]]})
        assert verb == "commit", verb
        kept = {path: content for path, content in files.items() if path not in self._deleted(files)}
        sha = repository.commit({**kept, **dict(self._committed())})
        return _json({"success": True, "commitOid": sha, "commitUrl": f"{self._page(repository)}/commit/{sha}"})

    def _refs(
        self, repository: Repository, method: str, name: str | None, token: str | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Branches and tags, and what is done to a tag."""
        if name is None:
            kinds = (("heads", repository.branches), ("tags", repository.tags))
            heads, tags = ([_ref(kind, *item) for item in refs.items()] for kind, refs in kinds)
            return _json({"branches": heads, "tags": tags, "converts": []})
        self._check_writer(token)
        if method == "DELETE":
            if repository.tags.pop(name, None) is None:
                raise _Refused(404, "RevisionNotFound", "Invalid rev id")
            return _json({})
        tag = json.loads(self.body)["tag"]
        if tag in repository.tags:
            raise _Refused(409, message="Tag reference exists already")
        repository.tags[tag] = _commit_of(repository, name)
        return _json({})

    def _tree(self, files: Files) -> tuple[int, bytes, dict[str, str]]:
        """A page of the list, and where the next one is."""
        query = parse_qs(urlsplit(self.path).query)
        start = int(query.get("cursor", ["0"])[0])
        paths = sorted(files)
        status, content, headers = _json([entry(path, files[path]) for path in paths[start : start + PAGE]])
        if start + PAGE < len(paths):
            base = f"{self.server.url}{urlsplit(self.path).path}?recursive=true&cursor={start + PAGE}"
            headers["Link"] = f'<{base}>; rel="next"'
        return status, content, headers

    def _resolve(
        self, repository: Repository, revision: str, path: str, token: str | None
    ) -> tuple[int, bytes, dict[str, str]]:
        sha = _commit_of(repository, revision)
        if repository.gated and token != TOKEN:
            raise _Refused(401 if token is None else 403, "GatedRepo", "Access to this dataset is restricted")
        if path not in repository.commits[sha]:
            raise _Refused(404, "EntryNotFound", "Entry not found")
        content = repository.commits[sha][path]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{oid(path, content)}"'}
        if not is_large(path):
            return 200, content, headers
        linked = {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
        location = f"{self.server.storage_url}/lfs/{oid(path, content)}?{SIGNATURE}"
        return 302, b"", {**headers, **linked, "Location": location}

    def _large_object(self, method: str, name: str) -> tuple[int, bytes, dict[str, str]]:
        if method == "PUT":
            if hashlib.sha256(self.body).hexdigest() != name:
                raise _Refused(400, message="other content than its name says")
            self.server.objects[name] = self.body
            return 200, b"", {}
        content = self.server.objects[name]
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            return 200, content, {}
        start, stop = int(found[1]), min(int(found[2] or len(content)) + 1, len(content))
        return 206, content[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}

    def _xet(self, method: str, path: str, token: str | None) -> tuple[int, bytes, dict[str, str]]:
        """The chunk storage of large files: takes what it is sent, and trusts that it is what was announced."""
        if "/xet-write-token/" in path:
            self._check_writer(token)
            expires = int(time.time()) + 3600
            return _json({"casUrl": f"{self.server.storage_url}/xet", "exp": expires, "accessToken": "of xet"})
        if method == "POST" and re.match(r"/xet/v1/(xorbs|shards)\b", path):
            self.server.objects |= self.server.announced
            return _json({"was_inserted": True, "result": 1})
        raise _Refused(404)

    def _create(self, token: str | None) -> tuple[int, bytes, dict[str, str]]:
        self._check_writer(token)
        asked = json.loads(self.body)
        kind, name = asked.get("type") or "model", f"{asked['organization']}/{asked['name']}"
        found = self.server.repositories.get((kind, name))
        if found is not None:
            return 409, json.dumps({"error": "You already created this repo", "url": self._page(found)}).encode(), {}
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        made = self.server.add(name, {".gitattributes": b""}, kind=kind, private=private)
        return _json({"url": self._page(made), "id": name})

    def _page(self, repository: Repository) -> str:
        return f"{self.server.url}/{'datasets/' if repository.kind == 'dataset' else ''}{repository.name}"

    def _batch(self) -> Iterator[dict[str, Any]]:
        for item in json.loads(self.body)["objects"]:
            href = f"{self.server.storage_url}/lfs/{item['oid']}?{SIGNATURE}"
            actions = {} if item["oid"] in self.server.objects else {"actions": {"upload": {"href": href}}}
            yield {"oid": item["oid"], "size": item["size"], **actions}

    def _deleted(self, files: Files) -> set[str]:
        """What a commit deletes; the Hub refuses a commit that deletes what is not there."""
        items = (json.loads(line) for line in self.body.splitlines())
        paths = {item["value"]["path"] for item in items if item["key"] == "deletedFile"}
        if not paths <= files.keys():
            raise _Refused(404, "EntryNotFound", f"no such files: {paths - files.keys()}")
        return paths

    def _committed(self) -> Iterator[tuple[str, bytes]]:
        for line in self.body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                yield item["value"]["path"], base64.b64decode(item["value"]["content"])
            if item["key"] == "lfsFile":
                yield item["value"]["path"], self.server.objects[item["value"]["oid"]]


def _ref(kind: str, name: str, commit: str) -> dict[str, str]:
    return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit}


def _json(value: object) -> tuple[int, bytes, dict[str, str]]:
    return 200, json.dumps(value).encode(), {"Content-Type": "application/json"}


def _commit_of(repository: Repository, revision: str) -> str:
    sha = repository.branches.get(unquote(revision), revision)
    if sha not in repository.commits:
        raise _Refused(404, "RevisionNotFound", "Invalid rev id")
    return sha


def _values(body: bytes, name: str) -> list[str]:
    """A field of a form or of JSON."""
    if body.startswith(b"{"):
        return list(json.loads(body)[name])
    return parse_qs(body.decode()).get(name, [])
