"""Drive the simulated ALOHA of gym-aloha by a served checkpoint, in ALOHA's own joints.

    millrace serve checkpoints/aloha/checkpoint-5000 --robot aloha
    python examples/drive_gym_aloha.py [PORT] [NUM_STEPS]

Needs gym-aloha (MuJoCo), and pyzmq and msgpack of the extra `client`; no GR00T and no GPU on this side. The model acts
at the rate of its dataset, 20 Hz; the server gives joint targets at the simulator's 50 Hz.
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.client import PolicyClient

ENVIRONMENT = "gym_aloha/AlohaTransferCube-v0"
CONTROL_HZ = 50
INSTRUCTION = "Pick up the cube with the right arm and transfer it to the left arm."
# gym-aloha's order of the joints (agent_pos and action) by the groups of the robot file `aloha`.
GROUPS = {"left_arm": 6, "left_gripper": 1, "right_arm": 6, "right_gripper": 1}


def split_joints(values: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
    """The simulator's 14 joints, shape (14,), by group."""
    ends = np.cumsum([*GROUPS.values()])
    return dict(zip(GROUPS, np.split(values, ends[:-1]), strict=True))


def join_joints(groups: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Joint targets by group, (N, D) each, as the simulator's, (N, 14)."""
    return np.concatenate([groups[name] for name in GROUPS], axis=-1)


def drive(environment: Any, policy: PolicyClient, *, num_steps: int, seed: int) -> Iterator[float]:
    """Yield the reward of each step; whole chunks are executed, one after the other."""
    seen, _ = environment.reset(seed=seed)
    policy.reset()
    targets: list[NDArray[np.float32]] = []
    for _ in range(num_steps):
        if not targets:
            state = split_joints(seen["agent_pos"])
            chunk = policy.act(images={"top": seen["pixels"]["top"]}, state=state, instruction=INSTRUCTION)
            if policy.control_hz != CONTROL_HZ:
                raise SystemExit(f"the server gives {policy.control_hz} actions a second: pass it --control-hz 50")
            targets = [*join_joints(chunk)]
        seen, reward, is_over, is_cut_off, _ = environment.step(targets.pop(0))
        yield float(reward)
        if is_over or is_cut_off:
            return


def main(port: int, num_steps: int) -> None:
    """Drive one episode, and print what it earned."""
    import gym_aloha  # noqa: F401  (registers the environments)
    import gymnasium

    environment = gymnasium.make(ENVIRONMENT, obs_type="pixels_agent_pos", max_episode_steps=num_steps)
    with PolicyClient("127.0.0.1", port, timeout_seconds=60) as policy:
        rewards = list(drive(environment, policy, num_steps=num_steps, seed=0))
    print(f"{len(rewards)} steps, highest reward {max(rewards):g} of 4")


if __name__ == "__main__":
    main(*map(int, [*sys.argv[1:], *("5555", "400")[len(sys.argv) - 1 :]]))
