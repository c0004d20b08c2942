"""GR00T's own inference server with a checkpoint of ours, as gr00t/eval/run_gr00t_server.py puts it together."""

import zmq
from gr00t.policy import BasePolicy
from gr00t.policy.gr00t_policy import Gr00tSimPolicyWrapper
from gr00t.policy.server_client import PolicyServer

from millrace.train.groot.policy import load_policy
from millrace.train.serve import ServeSettings
from millrace.train.server_access import read_token


def run_server(settings: ServeSettings, tag: str) -> None:
    """Answer requests until a client says "kill".

    Args:
        settings: What to serve, and where.
        tag: The value of an EmbodimentTag.

    Raises:
        ConfigError: the checkpoint cannot be loaded.
        GpuMissing: the device is not there.
    """
    policy: BasePolicy = load_policy(settings.checkpoint, tag, device=settings.device, strict=settings.strict)
    if settings.use_sim_policy_wrapper:
        policy = Gr00tSimPolicyWrapper(policy, strict=settings.strict)
    token, ipv6 = read_token(settings.api_token_env), settings.ipv6_host
    if ipv6 is None:
        PolicyServer(policy, host=settings.host, port=settings.port, api_token=token).run()
        return
    # GR00T's server binds as it is made, when IPv6 is not on yet: first any free port of this machine.
    server = PolicyServer(policy, host="127.0.0.1", port="*", api_token=token)
    server.socket.unbind(server.socket.getsockopt_string(zmq.LAST_ENDPOINT))
    server.socket.setsockopt(zmq.IPV6, 1)
    server.socket.bind(f"tcp://[{ipv6}]:{settings.port}")
    server.run()
