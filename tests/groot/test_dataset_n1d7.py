"""N1.7's own loader, statistics, processor and collator read a dataset that we have converted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from n1d7 import BACKBONE, HORIZON, LIMITS, make_processor, why_not, write_backbone

from conftest import IMAGE_SIZE, convert_here, data_path, read_meta
from millrace.train.groot.adapter import installed_adapter
from support.synthetic import write_dataset

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

LENGTHS = (150, 100, 60)  # at 50 Hz; converted to 20 Hz
GROUPS = ("left_arm", "left_hand", "right_arm", "right_hand", "waist")
BATCH = 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder / "source", lengths=LENGTHS)
    convert_here(folder / "source", folder / "gr1")
    return folder / "gr1"


@pytest.fixture
def configs(dataset: Path) -> Iterator[dict[str, Any]]:
    """What the dataset's modality_config.py registers, as long as a test lasts."""
    from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS

    from millrace.train.groot import modality_configs
    from millrace.train.settings import FinetuneSettings

    before = dict(MODALITY_CONFIGS)
    settings = FinetuneSettings(datasets=(dataset,), base_model_path="base", num_gpus=0)
    yield dict(modality_configs.register_run_config(settings))
    MODALITY_CONFIGS.clear()
    MODALITY_CONFIGS.update(before)
    modality_configs._run_file.cache_clear()


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backbone") / BACKBONE
    write_backbone(folder)
    return folder


def test_its_loader_reads_every_episode(dataset: Path, configs: dict[str, Any]) -> None:
    from gr00t.data.dataset.lerobot_episode_loader import LeRobotEpisodeLoader

    loader, slices = LeRobotEpisodeLoader(dataset, configs), read_meta(dataset, "modality.json")
    assert len(loader) == len(LENGTHS)
    for number in range(len(LENGTHS)):
        episode, rows = loader[number], pq.read_table(data_path(dataset, number))
        assert len(episode) == rows.num_rows == loader.get_episode_length(number)
        for part, column in (("state", "observation.state"), ("action", "action")):
            written = np.stack(rows[column].to_numpy())
            for group in GROUPS:
                joints = slice(slices[part][group]["start"], slices[part][group]["end"])
                np.testing.assert_array_equal(np.vstack(episode[f"{part}.{group}"].to_list()), written[:, joints])
        images = np.stack(episode["video.ego_view"].to_list())
        assert images.shape == (rows.num_rows, IMAGE_SIZE, IMAGE_SIZE, 3)
        assert images.std() > 0


def test_nothing_of_our_statistics_is_computed_again(dataset: Path, configs: dict[str, Any]) -> None:
    from gr00t.data.embodiment_tags import EmbodimentTag
    from gr00t.data.stats import generate_rel_stats, generate_stats

    files = {path: path.read_bytes() for path in (dataset / "meta").iterdir() if "stats" in path.name}
    generate_stats(dataset)
    generate_rel_stats(dataset, EmbodimentTag.NEW_EMBODIMENT)
    assert {path: path.read_bytes() for path in files} == files
    assert {path.name for path in files} >= {"stats.json", "relative_stats.json"}


def test_every_shard_goes_through_its_processor_and_collator(
    dataset: Path, configs: dict[str, Any], backbone: Path
) -> None:
    from gr00t.data.dataset.sharded_mixture_dataset import ShardedMixtureDataset
    from gr00t.data.dataset.sharded_single_step_dataset import ShardedSingleStepDataset
    from gr00t.data.embodiment_tags import EmbodimentTag

    tag = EmbodimentTag.NEW_EMBODIMENT
    processor = make_processor({tag.value: configs}, backbone)
    shards = ShardedSingleStepDataset(dataset, tag, configs, shard_size=16)
    ShardedMixtureDataset([shards], [1.0], processor, num_shards_per_epoch=8)  # hands over statistics and processor
    num_samples = 0
    for number in range(len(shards)):
        samples = shards.get_shard(number)
        num_samples += len(samples)
        check_batch(processor, processor.collator(samples[:BATCH])["inputs"], min(BATCH, len(samples)))
    assert num_samples == sum(int(length * 20 / 50) - HORIZON + 1 for length in LENGTHS)


def check_batch(processor: Any, batch: Any, size: int) -> None:
    width = sum(processor.state_action_processor.norm_params["new_embodiment"]["action"][g]["dim"] for g in GROUPS)
    assert batch["state"].shape == (size, 1, LIMITS["max_state_dim"])
    assert batch["action"].shape == (size, HORIZON, LIMITS["max_action_dim"])
    assert batch["action_mask"].sum() == size * HORIZON * width
    # An image of 256 x 256 pixels in patches of 16, four of them a token; a patch has two moments and three colours.
    assert batch["image_grid_thw"].tolist() == [[1, 16, 16]] * size
    assert batch["pixel_values"].shape == (size * 256, 2 * 3 * 16**2)
    assert batch["pixel_values"].nbytes == size * installed_adapter().batch_image_bytes(256)
    image_token = processor.processor.image_token_id
    assert (batch["input_ids"] == image_token).sum(dim=1).tolist() == [64] * size
    assert batch["action"].abs().max() <= 1  # scaled by q01 and q99, and clipped
