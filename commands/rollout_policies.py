"""What drives a rollout: a dataset played back, a checkpoint in this process, or a server's policy."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.embodiments import Remedy, Setting, load_robot
from millrace.engine.text import printable
from millrace.train.errors import RolloutError, SettingsError
from millrace.train.evaluate_settings import ServerAddress
from millrace.train.rollout.simulated_robot import RolloutPolicy, SimulatedRobot
from millrace.train.server_access import read_token

if TYPE_CHECKING:
    from millrace.commands.rollout import RollOut

REPLAY = "replay:"


def is_replay(policy: str) -> bool:
    """Whether a dataset is played back, which needs no images."""
    return policy.startswith(REPLAY)


def is_server(policy: str) -> bool:
    """Whether a server is asked."""
    try:
        ServerAddress.parse(policy)
    except SettingsError:
        return False
    return True


def open_rollout_policy(flags: "RollOut", robot: SimulatedRobot) -> RolloutPolicy:
    """What the flags name, for that robot.

    Raises:
        MillraceError: there is no such policy, or it cannot drive the robot.
    """
    if is_replay(flags.policy):
        return _open_replay(flags, robot)
    return _open_checkpoint(flags, robot) if Path(flags.policy).is_dir() else _open_server(flags, robot)


def _open_replay(flags: "RollOut", robot: SimulatedRobot) -> RolloutPolicy:
    from millrace.train.rollout.replay import open_replay

    folder = Path(flags.policy.removeprefix(REPLAY))
    return open_replay(folder, robot.robot, map_name=flags.map, control_fps=robot.control_fps, between=flags.between)


def _open_server(flags: "RollOut", robot: SimulatedRobot) -> RolloutPolicy:
    address, instruction = _parse_address(flags.policy), _read_instruction(flags)
    token = read_token(flags.api_token_env, flags.token_file)
    try:
        from millrace.train.robot_client import PolicyClient
        from millrace.train.rollout.served import ServedPolicy

        client = PolicyClient(address.host, address.port, token=token, timeout_seconds=flags.timeout)
    except ModuleNotFoundError as error:
        install = Remedy("install it: pip install 'millrace-robotics[client]'")
        raise RolloutError(f"a server is asked by {error.name!r}, which is not installed; ", install) from error
    own, rate = load_robot(robot.robot), robot.control_fps
    return ServedPolicy(client, own, control_fps=rate, instruction=instruction, first_seed=flags.seed)


def _open_checkpoint(flags: "RollOut", robot: SimulatedRobot) -> RolloutPolicy:
    """A checkpoint's policy in this process, at the robot's rate."""
    from millrace.train.groot import open_robot_policy
    from millrace.train.installed import require_groot
    from millrace.train.preflight.evaluation import check_backbone
    from millrace.train.rollout.served import OwnPolicy, ServedPolicy
    from millrace.train.serve import ServeSettings

    instruction, own, rate = _read_instruction(flags), load_robot(robot.robot), robot.control_fps
    settings = ServeSettings(
        checkpoint=flags.policy,
        robot=own.name,
        control_hz=str(rate),
        between=flags.between,
        device=flags.device,
        import_module=flags.import_module,
    )
    tag, _ = settings.tag()
    settings.control()
    require_groot(settings.gr00t)
    check_backbone(settings.checkpoint)
    with redirect_stdout(sys.stderr):  # where GR00T's packages may say what they like, beside JSON
        policy = OwnPolicy(open_robot_policy(settings, tag), printable(flags.policy))
    return ServedPolicy(policy, own, control_fps=rate, instruction=instruction, first_seed=flags.seed)


def _read_instruction(flags: "RollOut") -> str:
    if flags.instruction is None:
        raise RolloutError("a policy is told what to do; ", Remedy("say it: ", Setting("instruction", "TEXT")))
    return flags.instruction


def _parse_address(policy: str) -> ServerAddress:
    try:
        return ServerAddress.parse(policy)
    except SettingsError as error:
        named = Setting("policy", "replay:DATASET")
        choice = Remedy("name a dataset, a checkpoint's folder or a server: ", named, ", CHECKPOINT or HOST:PORT")
        raise RolloutError(f"there is no policy {policy!r}; ", choice, got=policy) from error
