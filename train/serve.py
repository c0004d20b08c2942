"""Settings of a server, checked before a model is loaded."""

import socket
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import arg

from millrace.embodiments import Remedy, Setting
from millrace.engine.fps import format_fps, parse_fps
from millrace.train.checkpoint import Checkpoint
from millrace.train.control_notes import RobotControl, choose_robot, known_robots, known_tags
from millrace.train.control_rate import Between
from millrace.train.errors import ConfigError, SettingsError
from millrace.train.flag_types import Flag, option
from millrace.train.framings import read_framings
from millrace.train.installed import choose_release
from millrace.train.policy_flags import PolicyFlags
from millrace.train.server_access import join_address, read_token

DEFAULT_PORT = 5555  # GR00T's, gr00t/eval/run_gr00t_server.py


@dataclass(frozen=True, kw_only=True)
class CheckpointFlags:
    """What is served, and where its model runs."""

    checkpoint: Annotated[str, tyro.conf.Positional, arg(metavar="CHECKPOINT")]
    """Folder of the checkpoint, or a model's name on the Hugging Face Hub."""
    device: Annotated[str, arg(metavar="DEVICE")] = "cuda"
    """Where the model runs: cuda, cuda:1, or cpu."""
    strict: bool = True
    """Check observations and actions against the modality config."""
    use_sim_policy_wrapper: Flag = False
    """Take observations and give actions as GR00T's simulators do."""


@dataclass(frozen=True, kw_only=True)
class RobotFlags:
    """Serving in a robot's own joints."""

    robot: Annotated[str | None, option("NAME")] = None
    """Serve in this robot's own joints, units, cameras and rate: a robot that the checkpoint's dataset was recorded
    with; by default in those that the model was trained in."""
    control_hz: Annotated[str | None, option("HZ")] = None
    """With --robot, the rate of the actions: that of the robot's controller; by default that of its recordings."""
    between: Annotated[Between, arg(metavar="interpolate|hold")] = "interpolate"
    """With --robot, what joint targets do between two steps of the model."""
    chunk_overlap: Annotated[float, arg(metavar="SECONDS")] = 0.0
    """With --robot, how much of each action chunk is kept back, and blended into the next one."""


@dataclass(frozen=True, kw_only=True)
class AccessFlags:
    """Where the server listens, and who may use it."""

    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen on; 0.0.0.0, or :: for IPv6 too, lets every machine of the network in."""
    port: Annotated[int, arg(metavar="PORT")] = DEFAULT_PORT
    """Port to listen on."""
    api_token_env: Annotated[str | None, option("NAME")] = None
    """Environment variable with a token that every request must carry; by default none need one."""
    token_file: Annotated[Path | None, option("FILE")] = None
    """File with a token that every request must carry, in place of --api-token-env."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings(CheckpointFlags, PolicyFlags, RobotFlags, AccessFlags):
    """Settings of GR00T's inference server."""

    def tag(self) -> tuple[str, tuple[str, ...]]:
        """The tag to serve under, as it stands in files, and what to know of that.

        Raises:
            ConfigError: there is no such checkpoint, or it does not say.
            UnknownName: it has learnt nothing under the tag that is asked for.
        """
        checkpoint = Checkpoint.open(self.checkpoint)
        release = choose_release(self.gr00t)
        asked = self.embodiment_tag
        if asked is None and checkpoint.trained_tag is None and self.robot is not None:
            # Of several robots in one run, each was trained under a tag of its own.
            tags = known_tags(self.checkpoint, self.robot)
            asked = tags[0] if len(tags) == 1 else None
        tag = checkpoint.choose_tag(asked, release)
        return tag, checkpoint.notes(tag, release)

    def frame_lines(self) -> tuple[str, ...]:
        """What live frames must be like, a line for each kind; none where the checkpoint does not say.

        A server of a robot makes them so itself.
        """
        if self.robot is not None:
            return ()
        return tuple(f"frames: {framing}" for framing in read_framings(self.checkpoint))

    def joint_line(self) -> str:
        """In whose joints the server speaks, and whether it could speak in a robot's."""
        if self.robot is not None:
            return f"joints: those of {self.robot}"
        why = "the checkpoint does not say how that came from a robot"
        try:
            if robots := known_robots(self.checkpoint):
                return f"joints: those of the dataset; for the robot's own pass --robot {' or '.join(robots)}"
        except ConfigError as error:
            why = str(error)
        return f"joints: those of the dataset, as no robot's own can be served: {why}"

    def describe(self, address: str, tag: str) -> dict[str, object]:
        """The server for scripts, once it listens at an address."""
        return {
            "address": address,
            "checkpoint": self.checkpoint,
            "embodiment_tag": tag.upper(),
            "robot": self.robot,
            "needs_token": self.token is not None,
        }

    def check_access(self) -> None:
        """Whether token and robot are what they are said to be; a model takes minutes to load.

        Raises:
            SettingsError: they are not.
            ConfigError: the checkpoint does not say how its dataset came from a robot.
            UnknownName: it was not trained with that robot.
        """
        _ = self.token
        self.control()

    @property
    def token(self) -> str | None:
        """What every request must carry; None: nothing.

        Raises:
            SettingsError: it is not where it is said to be.
        """
        return read_token(self.api_token_env, self.token_file)

    def control(self) -> tuple[RobotControl, Fraction | None] | None:
        """How the robot's recordings became the dataset, and its controller's rate if it is given; None: no robot.

        Raises:
            SettingsError: settings of a robot without one, of a simulator with one, or no rate where there are several.
            ConfigError: the checkpoint does not say it.
            UnknownName: the checkpoint was not trained with that robot.
        """
        if self.robot is None:
            if self.control_hz is not None or self.chunk_overlap or self.between != "interpolate":
                raise SettingsError("--control-hz, --between and --chunk-overlap need --robot")
            return None
        if self.use_sim_policy_wrapper:
            raise SettingsError("--robot and --use-sim-policy-wrapper exclude each other")
        tag, _ = self.tag()
        found, control_hz = choose_robot(self.checkpoint, self.robot, tag), self._read_rate()
        if control_hz is None and len(found.rates) > 1:
            rates = tuple(map(format_fps, sorted(found.rates)))
            advice = Remedy("Name that of its controller: ", Setting("control_hz", "HZ"))
            raise SettingsError(f"{self.robot} was recorded at {' and '.join(rates)} Hz. ", advice, known=rates)
        return found, control_hz

    def _read_rate(self) -> Fraction | None:
        try:
            return None if self.control_hz is None else parse_fps(self.control_hz)
        except ValueError as error:
            raise SettingsError(f"--control-hz: {error}") from error

    def check_address(self) -> None:
        """Whether the server may listen there; a model takes minutes to load.

        Raises:
            SettingsError: it may not.
        """
        if not 0 < self.port < 65536:
            raise SettingsError(f"--port {self.port}: ports lie between 1 and 65535")
        try:
            family, kind, protocol, _, address = self._resolve()
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ZeroMQ has it
                probe.bind(address)
        except OSError as error:
            where = join_address(self.host, self.port)
            raise SettingsError(
                f"cannot listen on {where}: {error.strerror}. ", Remedy("Choose another --port or --host")
            ) from error

    @property
    def ipv6_host(self) -> str | None:
        """The host as an IPv6 address; None if it is an IPv4 one."""
        family, *_, address = self._resolve()
        return str(address[0]) if family == socket.AF_INET6 else None

    @property
    def ipv4_host(self) -> str:
        """The host as an address; ZeroMQ binds to no name."""
        return str(self._resolve()[4][0])

    @property
    def is_open(self) -> bool:
        """Whether other machines may reach the server, and need no token."""
        return (
            self.api_token_env is None and self.token_file is None and not ip_address(self._resolve()[4][0]).is_loopback
        )

    def _resolve(self) -> tuple[Any, ...]:
        return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
