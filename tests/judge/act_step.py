"""Training steps of a small ACT policy of LeRobot 0.6.1 on a dataset, on the CPU."""

from pathlib import Path

import torch
from lerobot.configs import FeatureType
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.datasets.factory import resolve_delta_timestamps
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.factory import make_policy, make_pre_post_processors
from lerobot.utils.collate import lerobot_collate_fn
from lerobot.utils.feature_utils import dataset_to_policy_features
from torch.utils.data import DataLoader

BATCH, NUM_STEPS = 4, 2
SMALL = {"dim_model": 32, "n_heads": 2, "dim_feedforward": 64, "n_encoder_layers": 1, "n_vae_encoder_layers": 1}
# The ends of the network: what sees images, and what gives actions.
MUST_CHANGE = ("model.backbone.", "model.action_head.")


class NotTrained(Exception):
    """A step went wrong; the message says how."""


def train(repo_id: str, root: Path, video_backend: str) -> str:
    """Take some steps with LeRobot's dataset, processors, policy and optimizer; says what became of them.

    Raises:
        NotTrained: a loss is not finite, or parameters stay as they were.
    """
    torch.manual_seed(0)
    meta = LeRobotDatasetMetadata(repo_id, root=root)
    config = _config(meta)
    times = resolve_delta_timestamps(config, meta)
    dataset = LeRobotDataset(repo_id, root=root, delta_timestamps=times, video_backend=video_backend)
    policy = make_policy(config, ds_meta=meta)
    normalize, _ = make_pre_post_processors(config, dataset_stats=meta.stats)
    optimizer = config.get_optimizer_preset().build(policy.get_optim_params())
    before = {name: value.detach().clone() for name, value in policy.named_parameters()}
    losses = []
    policy.train()
    # As LeRobot's own launcher does: torch's cannot make a batch of language columns.
    collate = lerobot_collate_fn if dataset.meta.has_language_columns else None
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=1, collate_fn=collate)
    for _, batch in zip(range(NUM_STEPS), loader, strict=False):
        loss, _ = policy.forward(normalize(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    changed = [name for name, value in policy.named_parameters() if not torch.equal(value, before[name])]
    _check(losses, changed, len(dataset))
    result = f"loss {losses[0]:.3f}, {len(changed)} of {len(before)} tensors changed"
    return f"{len(losses)} steps of ACT on {', '.join(config.input_features)}: {result}"


def _config(meta: LeRobotDatasetMetadata) -> ACTConfig:
    """ACT, small and without pretrained weights; its actions are at once a chunk of 8."""
    features = dataset_to_policy_features(meta.features)
    features = {key: one for key, one in features.items() if key not in meta.depth_keys}  # of one channel, not three
    wanted = {key: one for key, one in features.items() if one.type is FeatureType.VISUAL or key == "observation.state"}
    if not any(one.type is FeatureType.VISUAL for one in wanted.values()):
        raise NotTrained("ACT needs a camera, and there is none")
    return ACTConfig(
        input_features=wanted,
        output_features={"action": features["action"]},
        chunk_size=8,
        n_action_steps=8,
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
        **SMALL,
    )


def _check(losses: list[float], changed: list[str], num_frames: int) -> None:
    if len(losses) < min(NUM_STEPS, num_frames // BATCH) or not all(map(torch.isfinite, map(torch.tensor, losses))):
        raise NotTrained(f"losses {losses}")
    for part in MUST_CHANGE:
        if not any(name.startswith(part) for name in changed):
            raise NotTrained(f"no parameter of {part}* changed")
