"""`millrace rollout`."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from rich.console import Console
from tyro.conf import arg

from millrace.commands.json_output import to_json_text
from millrace.commands.progress import show_stages
from millrace.commands.tables import make_table, print_line
from millrace.embodiments import Remedy, Setting, load_robot
from millrace.engine.text import format_count
from millrace.train.control_rate import Between
from millrace.train.errors import RolloutError, SettingsError
from millrace.train.evaluate_settings import ServerAddress
from millrace.train.flag_types import Flag, option
from millrace.train.rollout.driving import EpisodeTrace, Rollout
from millrace.train.rollout.simulated_robot import RolloutPolicy, SimulatedRobot
from millrace.train.server_access import read_token

REPLAY = "replay:"
VIDEO_FPS = 10
DEFAULT_EPISODES = 20


@dataclass(frozen=True, kw_only=True)
class RollOut:
    """Let a policy drive a simulated robot, and count its successes.

    `replay:DATASET` plays recorded actions back from the recorded start, also of a dataset that was converted to
    another robot and rate: what its map carries is read back. Examples:

    millrace rollout --env gym_aloha/AlohaTransferCube-v0 --policy replay:out/aloha_gr1 --episodes 20

    millrace rollout --env gym_aloha/AlohaTransferCube-v0 --policy replay:out/aloha_gr1 --video videos --json

    millrace rollout --env gym_aloha/AlohaTransferCube-v0 --policy 127.0.0.1:5555 --instruction "Hand the cube over."
    """

    env: Annotated[str, arg(metavar="ENV")]
    """The environment, as gymnasium names it: gym_aloha/... with the extra `sim`, or one that --adapter opens."""
    policy: Annotated[str, arg(metavar="replay:DATASET|HOST:PORT")]
    """What drives: replay:DATASET plays a dataset back, HOST:PORT is a `millrace serve --robot`."""
    episodes: Annotated[int | None, option("N")] = None
    """How many: of a replay the first ones of the dataset, by default all; else by default 20."""
    map: Annotated[str | None, option("NAME|FILE")] = None
    """The map by which a replayed dataset was converted; by default the one that its manifest names."""
    between: Between = "interpolate"
    """What targets do between two rows of a replayed dataset: go straight to the next one, or stay."""
    seed: int = 0
    """Of the first episode's start, where a server drives; the next ones follow it."""
    instruction: Annotated[str | None, option("TEXT")] = None
    """What a server's policy shall do; needed there."""
    api_token_env: Annotated[str | None, option("NAME")] = None
    """Environment variable with the token that the server wants."""
    timeout: Annotated[float, arg(metavar="SECONDS")] = 60.0
    """Longest wait for a server's answer."""
    max_steps: int = 400
    """Control steps of an episode at most, where a server drives."""
    video: Annotated[Path | None, option("FOLDER")] = None
    """Write a video of each episode, and a grid of all. Rendering takes most of the time without a GPU."""
    adapter: Annotated[Path | None, option("FILE.py")] = None
    """A file with open_environment(env_id, *, with_images), for an environment of your own."""
    json: Flag = False
    """Print JSON instead of text; an error, too."""
    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Roll out and print the success rate; 0 also where no episode succeeds."""
        if self.episodes is not None and self.episodes < 1:
            raise RolloutError(Setting("episodes", self.episodes), ": at least one episode is rolled out")
        from millrace.train.rollout.adapters import open_environment
        from millrace.train.rollout.gym_aloha import choose_renderer

        choose_renderer(with_images=self.video is not None or not self._is_replay)
        robot = open_environment(self.env, with_images=not self._is_replay, adapter=self.adapter)
        policy = self._open_replay(robot) if self._is_replay else self._open_server(robot)
        traces = list(self._roll_out(robot, policy, self._count_episodes(policy)))
        found = Rollout(environment=self.env, policy=policy.name, episodes=tuple(trace.outcome for trace in traces))
        print(to_json_text(found.model_dump())) if self.json else _print(found, Console())
        if self.video is not None:
            from millrace.train.rollout.videos import write_videos

            grid = write_videos(self.video, traces, Fraction(VIDEO_FPS))
            print_line(f"wrote {grid}", Console(stderr=self.json))
        return 0

    @property
    def _is_replay(self) -> bool:
        return self.policy.startswith(REPLAY)

    def _open_replay(self, robot: SimulatedRobot) -> RolloutPolicy:
        from millrace.train.rollout.replay import open_replay

        return open_replay(
            Path(self.policy.removeprefix(REPLAY)),
            robot.robot,
            map_name=self.map,
            control_fps=robot.control_fps,
            between=self.between,
        )

    def _open_server(self, robot: SimulatedRobot) -> RolloutPolicy:
        from millrace.client import PolicyClient
        from millrace.train.rollout.served import ServedPolicy

        address = self._parse_address()
        if self.instruction is None:
            raise RolloutError("a policy is told what to do; ", Remedy("say it: ", Setting("instruction", "TEXT")))
        client = PolicyClient(
            address.host, address.port, token=read_token(self.api_token_env), timeout_seconds=self.timeout
        )
        loaded = load_robot(robot.robot)
        return ServedPolicy(client, loaded, instruction=self.instruction, first_seed=self.seed)

    def _parse_address(self) -> ServerAddress:
        try:
            return ServerAddress.parse(self.policy)
        except SettingsError as error:
            choice = Remedy("name a dataset or a server: ", Setting("policy", "replay:DATASET"), " or HOST:PORT")
            raise RolloutError(f"there is no policy {self.policy!r}; ", choice, got=self.policy) from error

    def _count_episodes(self, policy: RolloutPolicy) -> int:
        known = policy.num_episodes
        if known is not None and (self.episodes or 0) > known:
            problem = f": {policy.name} has {format_count(known, 'episode')}"
            raise RolloutError(Setting("episodes", self.episodes), problem, got=self.episodes, expected=known)
        return self.episodes or known or DEFAULT_EPISODES

    def _roll_out(self, robot: SimulatedRobot, policy: RolloutPolicy, num_episodes: int) -> Iterator[EpisodeTrace]:
        from millrace.train.rollout.driving import roll_out

        image_every = None if self.video is None else max(1, round(robot.control_fps / VIDEO_FPS))
        with show_stages(Console(file=sys.stderr)) as on_progress:
            traces = roll_out(robot, policy, range(num_episodes), max_steps=self.max_steps, image_every=image_every)
            for number, trace in enumerate(traces, start=1):
                on_progress("episodes", number, num_episodes)
                yield trace


def _print(found: Rollout, console: Console) -> None:
    rows = (
        (str(one.episode), str(one.seed), str(one.num_steps), "yes" if one.is_success else "no", f"{one.max_reward:g}")
        for one in found.episodes
    )
    console.print(make_table(("episode", "seed", "steps", "success", "best reward"), rows))
    low, high = found.interval
    print_line(
        f"{found.policy} in {found.environment}: {found.num_successes} of "
        f"{format_count(len(found.episodes), 'episode')} succeeded, {found.success_rate:.0%} "
        f"(95 % confidence: {low:.0%} to {high:.0%})",
        console,
    )
