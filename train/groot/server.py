"""GR00T's own inference server with a checkpoint of ours, as gr00t/eval/run_gr00t_server.py puts it together."""

from collections.abc import Callable

import zmq
from gr00t.policy import BasePolicy
from gr00t.policy.gr00t_policy import Gr00tSimPolicyWrapper
from gr00t.policy.server_client import PolicyServer

from millrace.engine.text import printable
from millrace.train.errors import SettingsError
from millrace.train.groot.policy import load_policy, policy_config
from millrace.train.robot_policy import ControlSettings, RobotPolicy
from millrace.train.robot_server import RobotServer
from millrace.train.serve import ServeSettings
from millrace.train.server_access import join_address


def run_server(settings: ServeSettings, tag: str, *, on_listening: Callable[[str], None]) -> None:
    """Answer requests until a client says "kill".

    Args:
        settings: What to serve, and where.
        tag: The value of an EmbodimentTag.
        on_listening: Told the address once the server listens.

    Raises:
        ConfigError: the checkpoint cannot be loaded.
        GpuMissing: the device is not there.
    """
    if settings.robot is not None:
        server: RobotServer | PolicyServer = _make_robot_server(load_robot_policy(settings, tag), settings)
    else:
        server = _make_server(settings, tag)
    on_listening(f"tcp://{join_address(settings.host, settings.port)}")
    server.run()


def _make_server(settings: ServeSettings, tag: str) -> PolicyServer:
    """GR00T's server, which listens."""
    policy: BasePolicy = load_policy(settings.checkpoint, tag, device=settings.device, strict=settings.strict)
    if settings.use_sim_policy_wrapper:
        policy = Gr00tSimPolicyWrapper(policy, strict=settings.strict)
    token, ipv6 = settings.token, settings.ipv6_host
    if ipv6 is None:
        return PolicyServer(policy, host=settings.host, port=settings.port, api_token=token)
    # GR00T's server binds as it is made, when IPv6 is not on yet: first any free port of this machine.
    server = PolicyServer(policy, host="127.0.0.1", port="*", api_token=token)
    server.socket.unbind(server.socket.getsockopt_string(zmq.LAST_ENDPOINT))
    server.socket.setsockopt(zmq.IPV6, 1)
    server.socket.bind(f"tcp://[{ipv6}]:{settings.port}")
    return server


def load_robot_policy(settings: ServeSettings, tag: str) -> RobotPolicy:
    """The policy of a checkpoint in a robot's own joints, cameras and rate.

    Args:
        settings: What to load, and for which robot.
        tag: The value of an EmbodimentTag.

    Raises:
        ConfigError: the checkpoint cannot be loaded, or does not say how it came from that robot.
        GpuMissing: the device is not there.
        SettingsError: the settings name no robot, or the overlap leaves nothing of a chunk.
    """
    found = settings.control()
    if found is None:
        raise SettingsError("no robot is named: --robot NAME")
    robot, control_hz = found
    own = ControlSettings(control_hz=control_hz, between=settings.between, chunk_overlap=settings.chunk_overlap)
    policy = load_policy(settings.checkpoint, tag, device=settings.device, strict=settings.strict)
    return RobotPolicy(policy, policy_config(policy.get_modality_config()), robot, own)


def _make_robot_server(policy: RobotPolicy, settings: ServeSettings) -> RobotServer:
    """A server in a robot's own joints, which listens."""
    for line in policy.lines:
        print(printable(line), flush=True)
    host = settings.ipv6_host or settings.ipv4_host
    return RobotServer(policy, f"tcp://{join_address(host, settings.port)}", token=settings.token)
