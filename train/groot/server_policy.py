"""A policy in a running GR00T server, which may be gone, stuck, or of another tag than expected."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import zmq
from gr00t.policy.server_client import PolicyClient
from numpy.typing import NDArray

from millrace.embodiments import Remedy
from millrace.train.episodes import Observations
from millrace.train.errors import EvaluationError
from millrace.train.evaluate_settings import ServerAddress
from millrace.train.groot.policy import nest_observations, policy_config
from millrace.train.groot.signatures import decode_as_trained

# As gr00t/policy/server_client.py answers a request without its token.
UNAUTHORIZED = "Invalid API token"
TOKEN_ADVICE = "the server wants another token: name the variable that holds it by --api-token-env"
WRAPPER_ADVICE = "Was it started with --use-sim-policy-wrapper? Then pass that here too, else do not"


class TimedClient(PolicyClient):
    """GR00T's client with a timeout; GR00T's own ignores it and waits for ever."""

    def _init_socket(self) -> None:
        # Of the context, so that they hold before the socket connects.
        self.context.setsockopt(zmq.RCVTIMEO, self.timeout_ms)
        self.context.setsockopt(zmq.SNDTIMEO, self.timeout_ms)
        self.context.setsockopt(zmq.IPV6, ":" in self.host)
        # Else closing waits until a request that nobody takes is sent.
        self.context.setsockopt(zmq.LINGER, 0)
        super()._init_socket()


class ServerPolicy:
    """What a GR00T server acts; it answers one request at a time, with noise of its own.

    Raises:
        EvaluationError: nothing answers there in time, or not as GR00T's servers do.
    """

    batch_size = 1
    read_frames = staticmethod(decode_as_trained)

    def __init__(
        self, address: ServerAddress, *, timeout_seconds: float, wrapped: bool, token: str | None = None
    ) -> None:
        self.name, self._wrapped, self._seconds = str(address), wrapped, timeout_seconds
        host = f"[{address.host}]" if address.is_ipv6 else address.host
        timeout_ms = max(1, round(1000 * timeout_seconds))
        self._client = TimedClient(host, address.port, timeout_ms=timeout_ms, api_token=token)
        config = self._ask("get_modality_config", requires_input=False)
        if not config:
            raise EvaluationError(f"{self.name}: the server does not tell its modality config")
        self.config = policy_config(config)

    def act(self, observations: Observations, *, seed: int) -> Mapping[str, NDArray[np.float32]]:
        """Action chunks of the server; its noise cannot be seeded from here."""
        sent = self._flat(observations) if self._wrapped else nest_observations(observations, self.config)
        actions, _ = self._ask("get_action", {"observation": sent, "options": None})
        return {name.removeprefix("action.") if self._wrapped else name: values for name, values in actions.items()}

    def _flat(self, observations: Observations) -> dict[str, Any]:
        """As Gr00tSimPolicyWrapper takes them."""
        language, *_ = self.config.keys("language")
        images = {f"video.{camera}": frames for camera, frames in observations.images.items()}
        states = {f"state.{group}": values for group, values in observations.states.items()}
        return {**images, **states, language: list(observations.texts)}

    def _ask(self, endpoint: str, data: dict[str, Any] | None = None, *, requires_input: bool = True) -> Any:
        try:
            return self._client.call_endpoint(endpoint, data, requires_input)
        except zmq.Again as error:
            raise EvaluationError(
                f"{self.name}: no answer to {endpoint} in {self._seconds:g} s. ",
                Remedy("Start one with `millrace serve`, or wait longer with --timeout"),
            ) from error
        except zmq.ZMQError as error:
            raise EvaluationError(f"{self.name}: {error}") from error
        except RuntimeError as error:  # what the server raised, passed on by GR00T's client
            if UNAUTHORIZED in str(error):
                raise EvaluationError(f"{self.name}: {TOKEN_ADVICE}") from error
            raise EvaluationError(f"{self.name}: {str(error).splitlines()[0]}. {WRAPPER_ADVICE}") from error
