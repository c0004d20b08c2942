"""`millrace rollout`."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from tyro.conf import UseAppendAction, arg

from millrace.commands.json_output import to_json_text
from millrace.commands.progress import show_stages
from millrace.commands.rollout_policies import is_replay, open_rollout_policy
from millrace.commands.tables import make_table, print_line
from millrace.embodiments import Setting
from millrace.engine.text import format_count
from millrace.train.control_rate import Between
from millrace.train.errors import RolloutError
from millrace.train.flag_types import Flag, option
from millrace.train.rollout.driving import EpisodeTrace, Rollout
from millrace.train.rollout.simulated_robot import RolloutPolicy, SimulatedRobot

if TYPE_CHECKING:  # which imports av
    from millrace.train.rollout.videos import RolloutVideos

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

    millrace rollout --env gym_aloha/AlohaTransferCube-v0 --policy checkpoints/aloha/checkpoint-5000 --instruction Go
    """

    env: Annotated[str, arg(metavar="ENV")]
    """The environment, as gymnasium names it: gym_aloha/... with the extra `sim`, or one that --adapter opens."""
    policy: Annotated[str, arg(metavar="replay:DATASET|CHECKPOINT|HOST:PORT")]
    """What drives: replay:DATASET plays a dataset back, a checkpoint's folder is loaded here, which needs GR00T, and
    HOST:PORT is a `millrace serve --robot`."""
    episodes: Annotated[int | None, option("N")] = None
    """How many: of a replay the first ones of the dataset, by default all; else by default 20."""
    map: Annotated[str | None, option("NAME|FILE")] = None
    """The map by which a replayed dataset was converted; by default the one that its manifest names."""
    between: Between = "interpolate"
    """What targets do between two rows of a replayed dataset, or two steps of a checkpoint: go straight to the next
    one, or stay. A server decides itself."""
    seed: int = 0
    """Of the first episode's start, where a model drives; the next ones follow it."""
    instruction: Annotated[str | None, option("TEXT")] = None
    """What a model shall do; needed there."""
    api_token_env: Annotated[str | None, option("NAME")] = None
    """Environment variable with the token that the server wants."""
    token_file: Annotated[Path | None, option("FILE")] = None
    """File with that token, in place of --api-token-env."""
    timeout: Annotated[float, arg(metavar="SECONDS")] = 60.0
    """Longest wait for a server's answer."""
    device: Annotated[str, arg(metavar="DEVICE")] = "cuda"
    """Where a checkpoint runs: cuda, cuda:1, or cpu."""
    import_module: Annotated[tuple[Path, ...], UseAppendAction] = ()
    """A Python file to import before a checkpoint is loaded, such as a model type of your own; may be given again."""
    max_steps: int = 400
    """Control steps of an episode at most, where a model drives."""
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
        found = self.roll_out()
        print(to_json_text(found.model_dump())) if self.json else print_rollout(found, Console())
        return 0

    def roll_out(self) -> Rollout:
        """Let the policy drive, and write the videos that are asked for.

        Raises:
            RolloutError: a number is none, or policy and environment do not fit.
        """
        self.check_counts()
        from millrace.train.rollout.adapters import open_environment
        from millrace.train.rollout.gym_aloha import choose_renderer

        needs_images = not is_replay(self.policy)
        choose_renderer(with_images=self.video is not None or needs_images)
        robot = open_environment(self.env, with_images=needs_images, adapter=self.adapter)
        policy = open_rollout_policy(self, robot)
        videos = self._open_videos()
        outcomes = []
        for trace in self._drive(robot, policy, self._count_episodes(policy)):
            outcomes.append(trace.outcome)
            if videos is not None:
                videos.add(trace)
        if videos is not None:
            print_line(f"wrote {videos.write_grid()}", Console(stderr=self.json))
        return Rollout(environment=self.env, policy=policy.name, episodes=tuple(outcomes))

    def check_counts(self) -> None:
        """Check the numbers of episodes and steps.

        Raises:
            RolloutError: one is below 1.
        """
        for name, value, what in (("episodes", self.episodes, "episode"), ("max_steps", self.max_steps, "step")):
            if value is not None and value < 1:
                raise RolloutError(Setting(name, value), f": at least one {what} is rolled out")

    def _open_videos(self) -> "RolloutVideos | None":
        if self.video is None:
            return None
        from millrace.train.rollout.videos import RolloutVideos

        return RolloutVideos(self.video, Fraction(VIDEO_FPS))

    def _count_episodes(self, policy: RolloutPolicy) -> int:
        known = policy.num_episodes
        if known is not None and (self.episodes or 0) > known:
            problem = f": {policy.name} has {format_count(known, 'episode')}"
            raise RolloutError(Setting("episodes", self.episodes), problem, got=self.episodes, expected=known)
        return self.episodes or known or DEFAULT_EPISODES

    def _drive(self, robot: SimulatedRobot, policy: RolloutPolicy, num_episodes: int) -> Iterator[EpisodeTrace]:
        from millrace.train.rollout.driving import roll_out

        image_every = None if self.video is None else max(1, round(robot.control_fps / VIDEO_FPS))
        with show_stages(Console(file=sys.stderr)) as on_progress:
            traces = roll_out(robot, policy, range(num_episodes), max_steps=self.max_steps, image_every=image_every)
            for number, trace in enumerate(traces, start=1):
                on_progress("episodes", number, num_episodes)
                yield trace


def print_rollout(found: Rollout, console: Console) -> None:
    """Print each episode, and the success rate."""
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
