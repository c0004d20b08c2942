"""GR00T's own inference server with a checkpoint of ours, as gr00t/eval/run_gr00t_server.py puts it together."""

from gr00t.policy import BasePolicy
from gr00t.policy.gr00t_policy import Gr00tSimPolicyWrapper
from gr00t.policy.server_client import PolicyServer

from millrace.train.groot.policy import load_policy
from millrace.train.serve import ServeSettings


def run_server(settings: ServeSettings, tag: str) -> None:
    """Answer requests until a client says "kill".

    Args:
        settings: What to serve, and where.
        tag: The value of an EmbodimentTag.

    Raises:
        ConfigError: the checkpoint cannot be loaded.
        GpuMissing: the device is not there.
    """
    policy: BasePolicy = load_policy(settings.checkpoint, tag, device=settings.device)
    if settings.use_sim_policy_wrapper:
        policy = Gr00tSimPolicyWrapper(policy)
    PolicyServer(policy, host=settings.host, port=settings.port).run()
