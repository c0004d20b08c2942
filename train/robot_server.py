"""A server that speaks GR00T's protocol in a robot's own joints; whatever a client sends, it lives."""

import hmac
from collections.abc import Callable
from typing import Any

import zmq

from millrace.embodiments import MillraceError
from millrace.engine.text import printable
from millrace.train.errors import RequestError
from millrace.train.robot_messages import decode, encode, encode_config
from millrace.train.robot_policy import RobotPolicy

MAX_MESSAGE_BYTES = 64 << 20  # ten uncompressed frames of 1080p
MAX_WAITING = 16  # requests of a client, and of all answers to it
UNAUTHORIZED = "Unauthorized: Invalid API token"  # as gr00t/policy/server_client.py says it


class RobotServer:
    """Answers requests one by one, on a socket that closes connections whose messages are too large.

    Args:
        policy: Answers `get_action`, `reset` and `get_modality_config`.
        address: Such as "tcp://127.0.0.1:5555"; port 0 takes a free one.
        token: What every request must carry; None: nothing.
    """

    def __init__(
        self,
        policy: RobotPolicy,
        address: str,
        *,
        token: str | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._policy, self._token = policy, token
        self._is_running = True
        self._context = zmq.Context()
        # With ROUTER, unlike GR00T's REP, a client that sends half a request does not block the others.
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
        self._socket.setsockopt(zmq.IPV6, "[" in address)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.RCVHWM, MAX_WAITING)
        self._socket.setsockopt(zmq.SNDHWM, MAX_WAITING)
        self._socket.bind(address)
        self._endpoints: dict[str, Callable[[dict[str, Any], bytes], object]] = {
            "ping": lambda data, client: {"status": "ok", "message": "Server is running"},
            "kill": self._stop,
            "get_action": self._act,
            "reset": lambda data, client: policy.reset(data.get("options"), client=client),
            "get_modality_config": lambda data, client: {
                part: encode_config(*described) for part, described in policy.describe().items()
            },
        }

    @property
    def address(self) -> str:
        """Where it listens."""
        return str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def run(self) -> None:
        """Answer requests until a client says "kill"."""
        print(f"Server is ready and listening on {self.address}", flush=True)
        try:
            while self._is_running:
                self._serve_one()
        finally:
            self._context.destroy(linger=1000)

    def _serve_one(self) -> None:
        client, *frames = self._socket.recv_multipart()
        # A REQ socket, as GR00T's client has, sends an empty frame and its message; others get no answer.
        if len(frames) != 2 or frames[0]:
            return
        self._socket.send_multipart([client, b"", self.answer(frames[1], client)])

    def answer(self, message: bytes, client: bytes) -> bytes:
        """The answer to a request; an error where it is none."""
        try:
            return encode(self._handle(message, client))
        except MillraceError as error:
            return self._report(str(error))
        except Exception as error:  # the model's own, of whatever kind: others may still be answered
            return self._report(f"{type(error).__name__}: {error}")

    def _handle(self, message: bytes, client: bytes) -> object:
        request = decode(message)
        if not isinstance(request, dict):
            raise RequestError(f"a request must be a mapping, got {type(request).__name__}")
        if not self._is_allowed(request.get("api_token")):
            raise RequestError(UNAUTHORIZED)
        name = request.get("endpoint", "get_action")
        if not isinstance(name, str) or name not in self._endpoints:
            raise RequestError(f"Unknown endpoint: {str(name)[:80]}. Known: {', '.join(self._endpoints)}")
        data = request.get("data") or {}
        if not isinstance(data, dict):
            raise RequestError(f"data must be a mapping, got {type(data).__name__}")
        return self._endpoints[name](data, client)

    def _is_allowed(self, token: object) -> bool:
        if self._token is None:
            return True
        return isinstance(token, str) and hmac.compare_digest(token.encode(), self._token.encode())

    def _act(self, data: dict[str, Any], client: bytes) -> object:
        return self._policy.get_action(data.get("observation"), data.get("options"), client=client)

    def _stop(self, data: dict[str, Any], client: bytes) -> object:
        self._is_running = False
        return {"status": "ok"}

    def _report(self, reason: str) -> bytes:
        line = printable(reason)[:2000]
        print(f"Error in server: {line}", flush=True)
        return encode({"error": line})
