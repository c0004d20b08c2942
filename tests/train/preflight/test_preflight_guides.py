"""Every row of the guides' troubleshooting tables: the mistake made on purpose, the message seen before training."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from conftest import REPOSITORY, convert_here, data_path, read_table, video_path
from millrace.embodiments.errors import MillraceError
from millrace.train.preflight import Preflight, preflight
from millrace.train.settings import FinetuneSettings
from support.synthetic import SyntheticVideo, edit_json, rewrite_parquet, write_dataset, write_video
from support.training_setups import (
    EVERYTHING,
    GB,
    N1D6_SHAPES,
    copy_to_break,
    gpus_of,
    replace_text,
    settings_of,
    write_base,
)

pytest_plugins = ["support.training_fixtures"]

GUIDES = REPOSITORY.parent / "shared/guides"
WORKSTATION = replace(EVERYTHING, gpus=gpus_of("RTX 6000 Ada", 48 * GB))


@dataclass(frozen=True)
class Run:
    """A run of N1.6-3B on a workstation, and the files that a mistake is made in."""

    dataset: Path
    settings: FinetuneSettings

    def judged(self, **flags: Any) -> Preflight:
        """Preflight of the run with other flags."""
        return preflight(replace(self.settings, **flags), machine=WORKSTATION)

    def told(self, code: str, **flags: Any) -> str:
        """What preflight says of a check, with the remedy."""
        checked = self.judged(**flags)
        (found,) = (found for found in checked.problems if found.code == code)
        return f"{found}. {found.remedy}"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Run:
    dataset = copy_to_break(whole, tmp_path / "dataset")
    base = write_base(tmp_path / "base", shapes=N1D6_SHAPES)
    return Run(dataset, settings_of(dataset, base, global_batch_size=16))


def out_of_memory_by_batch(run: Run) -> None:
    told = run.told("gpu-memory-batch", global_batch_size=64)
    assert "CUDA out of memory is likely: 52 GB (by a formula, unmeasured) of 48 GB" in told
    assert "a smaller --global-batch-size, or a larger --gradient-accumulation-steps" in told
    assert not run.judged(global_batch_size=64, gradient_accumulation_steps=4).warnings


def out_of_memory_by_flags(run: Run) -> None:
    told = run.told("gpu-memory", tune_llm=True, tune_visual=True)
    assert "CUDA out of memory: weights, gradients and AdamW need 53 GB, the GPU has 48 GB" in told
    assert "--no-tune-llm or --no-tune-visual" in told


def no_modality_config(run: Run) -> None:
    (run.dataset / "modality_config.py").unlink()
    assert "Embodiment tag not found: N1.6 has no modality config for GR1" in run.told(
        "tag-unregistered", embodiment_tag="GR1"
    )


def another_parquet_schema(run: Run) -> None:
    rewrite_parquet(data_path(run.dataset, 1), lambda table: table.drop_columns(["observation.state"]))
    told = run.told("columns-missing")
    assert "episode_000001.parquet" in told
    assert "observation.state" in told


def av1_video(run: Run) -> None:
    path = video_path(run.dataset, 2)
    path.unlink()
    write_video(path, num_frames=52, fps=50, episode=2, video=SyntheticVideo(height=64, width=64))
    assert "av1" in run.told("video-codec")
    told = run.told("video-decoder", stock_loader=True, video_backend="decord")
    assert "Re-encode it as H.264" in told


def another_width(run: Run) -> None:
    rows = read_table(run.dataset, 0)["action"].to_pylist()
    narrow = pa.array([row[:-1] for row in rows], pa.list_(pa.float32(), len(rows[0]) - 1))
    rewrite_parquet(
        data_path(run.dataset, 0), lambda table: table.set_column(table.column_names.index("action"), "action", narrow)
    )
    told = run.told("columns-shape")
    assert "13" in told
    assert "14" in told


def action_action(run: Run) -> None:
    def rename(info: Any) -> None:
        info["features"]["action.action"] = info["features"].pop("action")

    edit_json(run.dataset / "meta/info.json", rename)
    for episode in range(3):
        rewrite_parquet(
            data_path(run.dataset, episode),
            lambda table: table.rename_columns(
                ["action.action" if name == "action" else name for name in table.column_names]
            ),
        )
    told = run.told("modality-column")
    assert "'action' is not in info.json" in told
    assert "action.action" in told


def no_language(run: Run) -> None:
    file = run.dataset / "modality_config.py"
    replace_text(file, '["annotation.human.task_description"]', "[]")
    told = run.told("config-language")
    assert "language needs exactly one key" in told
    assert '"language": ModalityConfig(delta_indices=[0], modality_keys=["task"])' in told


def joints_of_another_robot(run: Run) -> None:
    source = run.dataset.parent / "source"
    write_dataset(source, lengths=(20,))
    replace_text(source / "meta/info.json", '"left_elbow', '"left_shin')
    with pytest.raises(MillraceError, match="left_shin"):
        convert_here(source, run.dataset.parent / "out", robot="aloha")


def joint_groups_that_cross(run: Run) -> None:
    wrong = {"start": 7, "end": 13}
    edit_json(run.dataset / "meta/modality.json", lambda modality: modality["state"]["left_arm"].update(wrong))
    told = run.told("modality-overlap")
    assert "share" in told
    assert "left_arm" in told


def invalid_observations(run: Run) -> None:
    rows = np.array(read_table(run.dataset, 0)["observation.state"].to_pylist(), dtype=np.float32)
    rows[7, 3] = np.nan
    column = pa.array(list(rows), pa.list_(pa.float32(), rows.shape[1]))
    rewrite_parquet(
        data_path(run.dataset, 0),
        lambda table: table.set_column(table.column_names.index("observation.state"), "observation.state", column),
    )
    assert "observation.state" in run.told("rows-finite")


def low_learning_rate(run: Run) -> None:
    assert "1e-07" in run.told("learning-rate", learning_rate=1e-7)


# By the row's first words, as the guides have them.
ROWS: dict[str, tuple[Callable[[Run], None], ...]] = {
    "CUDA out of memory": (out_of_memory_by_batch,),
    "Embodiment tag not found": (no_modality_config,),
    "Dataset loading error": (another_parquet_schema,),
    "Video decoding error": (av1_video,),
    "Shape mismatch": (another_width,),
    "KeyError: 'action'": (action_action,),
    "Language modality must have exactly one key": (no_language,),
    "Out of Memory": (out_of_memory_by_batch, out_of_memory_by_flags),
    "Training Loss Not Decreasing": (
        invalid_observations,
        joints_of_another_robot,
        joint_groups_that_cross,
        low_learning_rate,
    ),
}
MISTAKES = [
    pytest.param(mistake, id=f"{row}: {mistake.__name__}") for row, mistakes in ROWS.items() for mistake in mistakes
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_guides_is_told_before_training(mistake: Callable[[Run], None], run: Run) -> None:
    assert not run.judged().problems
    mistake(run)


def rows_of_the_guides() -> set[str]:
    """The left column of one guide's table, and the headings of the other's section."""
    aloha = (GUIDES / "aloha.md").read_text(encoding="utf-8").partition("### Common Issues")[2].partition("###")[0]
    g1 = (GUIDES / "g1_inspire.md").read_text(encoding="utf-8").partition("## Troubleshooting")[2].partition("\n## ")[0]
    return {*re.findall(r"^\| `(.+?)` \|", aloha, re.MULTILINE), *re.findall(r"^### (.+)$", g1, re.MULTILINE)}


@pytest.mark.skipif(not GUIDES.is_dir(), reason="the guides are not beside the repository")
def test_every_row_of_the_guides_is_here() -> None:
    assert rows_of_the_guides() == set(ROWS)
