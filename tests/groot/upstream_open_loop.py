"""GR00T's own open-loop evaluation of a checkpoint and ours, on the same noise: prints MSE and MAE of both as JSON.

upstream_open_loop.py TINY_MODEL CHECKPOINT DATASET STEPS_OF_EACH_CHUNK
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

NOISE = 7


def main(model: Path, checkpoint: str, dataset: Path, horizon: int) -> None:
    sys.path.append(str(model.parent))
    importlib.import_module(model.stem)
    print(json.dumps({"ours": ours(checkpoint, dataset, horizon), "theirs": theirs(checkpoint, dataset, horizon)}))


def ours(checkpoint: str, dataset: Path, horizon: int) -> tuple[float, float]:
    from millrace.train.episodes import EpisodeReader
    from millrace.train.groot.policy import CheckpointPolicy
    from millrace.train.open_loop import trace_episode
    from millrace.train.training_dataset import TrainingDataset

    class SameNoise(CheckpointPolicy):
        batch_size = 1

        def act(self, observations: Any, *, seed: int) -> Any:
            return super().act(observations, seed=NOISE)

    policy = SameNoise(checkpoint, "new_embodiment", cpu=True)
    reader = EpisodeReader(TrainingDataset.open(dataset), policy.config, policy.read_frames)
    total = trace_episode(policy, reader, 0, horizon=horizon).score().total
    return total.mse, total.mae


def theirs(checkpoint: str, dataset: Path, horizon: int) -> tuple[float, float]:
    import torch
    from gr00t.data.dataset.lerobot_episode_loader import LeRobotEpisodeLoader
    from gr00t.data.embodiment_tags import EmbodimentTag
    from gr00t.eval.open_loop_eval import evaluate_single_trajectory
    from gr00t.policy import Gr00tPolicy

    class SameNoise(Gr00tPolicy):
        def _get_action(self, *arguments: Any) -> Any:
            torch.manual_seed(NOISE)
            return super()._get_action(*arguments)

    tag = EmbodimentTag.NEW_EMBODIMENT
    policy = SameNoise(tag, checkpoint, device="cpu")
    loader = LeRobotEpisodeLoader(dataset, policy.get_modality_config())
    picture = str(dataset.parent / "theirs.jpeg")
    found = evaluate_single_trajectory(policy, loader, 0, tag, action_horizon=horizon, save_plot_path=picture)
    return float(found[0]), float(found[1])


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # a module of the tests must not stand before a library of its name
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
