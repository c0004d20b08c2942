"""A client of `millrace serve --robot`; users import it as `millrace.client`."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from millrace.embodiments import MillraceError, Remedy
from millrace.train.errors import RequestError
from millrace.train.robot_messages import CONFIG, decode, encode
from millrace.train.robot_request import EXECUTED, make_observation

DEFAULT_TIMEOUT_SECONDS = 15.0


class ServerError(MillraceError):
    """The server does not answer, or answers with an error."""


class PolicyClient:
    """A connection to a server; needs the packages pyzmq and msgpack.

    control_hz: rate of the last actions, Hz; None before the first ones, and where the server does not say.

    Args:
        host: Name or address of the server's machine.
        port: Of the server.
        token: What the server wants every request to carry.
        timeout_seconds: To wait for an answer; a model's first one takes longest.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 5555,
        *,
        token: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        import zmq

        self._zmq = zmq
        self.address = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
        self.control_hz: float | None = None
        self._token, self._timeout_seconds = token, timeout_seconds
        self._context = zmq.Context()
        self._socket = self._connect()

    def is_running(self) -> bool:
        """Whether the server answers in time."""
        try:
            return bool(self._ask("ping"))
        except ServerError:
            return False

    def names(self) -> dict[str, tuple[str, ...]]:
        """Names of the server's cameras (video), joint groups (state, action) and instruction (language)."""
        config = self._ask("get_modality_config")
        try:
            return {part: tuple(entry["as_json"]["modality_keys"]) for part, entry in config.items() if CONFIG in entry}
        except (AttributeError, KeyError, TypeError) as error:
            raise ServerError(f"{self.address}: the answer is no modality config") from error

    def reset(self) -> None:
        """Begin an episode: the next actions do not follow those before."""
        self._ask("reset", {"options": None})

    def act(
        self,
        *,
        images: Mapping[str, ArrayLike],
        state: Mapping[str, ArrayLike],
        instruction: str,
        num_executed: int | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """The next actions.

        Args:
            images: By camera, (H, W, 3) uint8 RGB.
            state: By joint group, (D,), in the robot's units.
            instruction: What the robot shall do.
            num_executed: Of the last actions, those that were due when this was observed; None: all of them. It
                matters to a server with an overlap of chunks.

        Returns:
            Joint targets by joint group, (N, D), one for each tick of the robot's controller.

        Raises:
            RequestError: an image is not uint8.
            ServerError: the server does not answer in time, or not with actions.
        """
        observation = make_observation(images=images, state=state, instruction=instruction)
        options = None if num_executed is None else {EXECUTED: num_executed}
        answer = self._ask("get_action", {"observation": observation, "options": options})
        try:
            actions, facts = answer
            self.control_hz = facts.get("control_hz")
            return {name: values[0] for name, values in actions.items()}
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ServerError(f"{self.address}: the answer holds no actions") from error

    def close(self) -> None:
        """Close the connection."""
        self._context.destroy(linger=0)

    def __enter__(self) -> "PolicyClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _connect(self) -> Any:
        socket = self._context.socket(self._zmq.REQ)
        timeout_ms = max(1, round(1000 * self._timeout_seconds))
        for option in (self._zmq.RCVTIMEO, self._zmq.SNDTIMEO):
            socket.setsockopt(option, timeout_ms)
        socket.setsockopt(self._zmq.IPV6, "[" in self.address)
        socket.setsockopt(self._zmq.LINGER, 0)
        socket.connect(self.address)
        return socket

    def _ask(self, endpoint: str, data: dict[str, Any] | None = None) -> Any:
        request: dict[str, Any] = {"endpoint": endpoint}
        request |= {} if data is None else {"data": data}
        request |= {} if self._token is None else {"api_token": self._token}
        try:
            self._socket.send(encode(request))
            answer = decode(self._socket.recv())
        except self._zmq.Again as error:
            # A REQ socket that got no answer can send nothing more.
            self._socket.close()
            self._socket = self._connect()
            advice = Remedy("Is it started, and the token right? See `millrace serve --help`")
            raise ServerError(
                f"{self.address}: no answer to {endpoint} in {self._timeout_seconds:g} s. ", advice
            ) from error
        except (self._zmq.ZMQError, RequestError) as error:
            raise ServerError(f"{self.address}: {error}") from error
        if isinstance(answer, dict) and "error" in answer:
            raise ServerError(f"{self.address}: {answer['error']}")
        return answer
