"""GR00T's own statistics of what `convert` writes are ours, their merge too, and so is what it makes of joints."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import convert_here, read_meta
from millrace.engine.dataset.fingerprints import FINGERPRINTS
from millrace.engine.dataset.rows import read_table, read_vectors
from support.g1_sources import COLUMNS
from support.synthetic import ExtraColumn, edit_json, write_dataset

pytest.importorskip("gr00t", reason="NOT TESTED: gr00t is not importable")

from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS
from gr00t.data.dataset import sharded_mixture_dataset
from gr00t.data.dataset.lerobot_episode_loader import LeRobotEpisodeLoader
from gr00t.data.dataset.sharded_mixture_dataset import merge_statistics
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.state_action.state_action_processor import StateActionProcessor
from gr00t.data.stats import generate_rel_stats, generate_stats

from millrace.train.groot import modality_configs
from millrace.train.groot.missing_statistics import complete_statistics
from millrace.train.settings import FinetuneSettings

TAG = EmbodimentTag.NEW_EMBODIMENT
FILES = ("stats.json", "relative_stats.json")
STATISTICS = {"mean", "std", "min", "max", "q01", "q99"}
# Of the larger of 1 and the magnitude: GR00T adds up float32 in float32.
TOLERANCE = 2e-6
MODALITIES = ("state", "action", "relative_action")


def write_aloha(folder: Path, **settings: Any) -> None:
    write_dataset(folder / "source", lengths=(150, 100, 60, 30))
    convert_here(folder / "source", folder / "out", **settings)


def write_g1(folder: Path) -> None:
    options: dict[str, Any] = {"names": "nested", "parts": COLUMNS["g1_gripper"], "robot_type": None}
    write_dataset(folder / "source", lengths=(70, 50), fps=30, cameras=("cam_left_high",), **options)
    convert_here(folder / "source", folder / "out", map="g1_gripper_to_unitree_g1")


def write_others(folder: Path, **settings: Any) -> None:
    """With columns of every kind beside state and action."""
    numbers = {"next.reward": "float32", "observation.force": "float64", "score": "int64"}
    columns = {name: ExtraColumn(lambda episode, frames: frames % 7 + episode, kind) for name, kind in numbers.items()}
    columns["next.done"] = ExtraColumn(lambda episode, frames: frames == 9, "bool")
    columns["phase"] = ExtraColumn(lambda episode, frames: [f"step {frame // 9}" for frame in frames], "string")
    columns["observation.effort"] = ExtraColumn(lambda episode, frames: np.outer(frames, [1, -1, 0.5]), shape=(3,))
    write_dataset(folder / "source", lengths=(60, 50), extra_columns=columns)
    convert_here(folder / "source", folder / "out", **settings)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "GR1, arms relative, waist at rest": write_aloha,
    "GR1, chunks of 7 steps": lambda folder: write_aloha(folder, horizon=7),
    "ALOHA at its own rate, two episodes a folder": lambda folder: write_aloha(
        folder, robot="aloha", fps="source", chunks_size=2
    ),
    "other columns": write_others,
    "Unitree G1, legs in the state alone": write_g1,
}


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layout")
    LAYOUTS[request.param](folder)
    return folder / "out"


@pytest.fixture(scope="module")
def gr1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gr1")
    write_aloha(folder)
    return folder / "out"


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Registrations last as long as the process; here as long as a test."""
    before = dict(MODALITY_CONFIGS)
    yield
    MODALITY_CONFIGS.clear()
    MODALITY_CONFIGS.update(before)
    modality_configs._run_file.cache_clear()


def register(dataset: Path) -> Any:
    """What the dataset's modality_config.py registers, as training does."""
    settings = FinetuneSettings(datasets=(dataset,), base_model_path="base", num_gpus=0)
    return modality_configs.register_run_config(settings)


def compute_by_groot(dataset: Path, out: Path) -> Path:
    """A copy of the dataset with GR00T's own statistics."""
    shutil.copytree(dataset, out, ignore=shutil.ignore_patterns(*FILES, ".millrace", "videos"))
    (out / "videos").symlink_to(dataset / "videos")
    generate_stats(out)
    generate_rel_stats(out, TAG)
    return out


def entries(dataset: Path, name: str) -> dict[str, Any]:
    return {key: entry for key, entry in read_meta(dataset, name).items() if key != FINGERPRINTS}


def assert_close(found: Any, expected: Any, where: str, tolerance: float = TOLERANCE) -> None:
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, where
    off = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    assert off.max() <= tolerance, f"{where}: {off.max():.3g}"


@pytest.mark.parametrize("name", FILES)
def test_groot_computes_the_statistics_that_convert_wrote(layout: Path, name: str, tmp_path: Path) -> None:
    register(layout)
    ours, groots = entries(layout, name), entries(compute_by_groot(layout, tmp_path / "copy"), name)
    assert set(ours) == set(groots) != set()
    for key, entry in groots.items():
        assert set(entry) == set(ours[key]) == STATISTICS
        for stat, values in entry.items():
            assert_close(ours[key][stat], values, f"{name}, {stat} of {key}")


def test_nothing_of_ours_is_computed_again(layout: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In a copy: some builds of N1.7 rewrite relative statistics in their own form, whatever is there."""
    register(layout)
    dataset = Path(shutil.copytree(layout, tmp_path / "copy", ignore=shutil.ignore_patterns(".millrace")))
    file = dataset / "meta/stats.json"
    before = (file.stat().st_mtime_ns, file.stat().st_ino, file.read_bytes())
    generate_stats(dataset)
    assert (file.stat().st_mtime_ns, file.stat().st_ino, file.read_bytes()) == before
    assert "Computing statistics" not in capfd.readouterr().out


def test_other_columns_do_not_change_what_groot_reads(tmp_path: Path) -> None:
    write_others(tmp_path / "with")
    write_others(tmp_path / "without", columns=())
    found = []
    for name in ("with", "without"):
        dataset = tmp_path / name / "out"
        loader = LeRobotEpisodeLoader(dataset, register(dataset))
        found.append([loader[episode] for episode in range(len(loader))])
    assert len(read_meta(tmp_path / "with/out", "info.json")["features"]) > len(COLUMNS)
    for ours, due in zip(*found, strict=True):
        assert list(ours.columns) == list(due.columns)
        for column in due.columns:
            assert all(map(np.array_equal, ours[column], due[column])), column


def load_statistics(dataset: Path, config: Any) -> Any:
    """As GR00T's loader hands them over: state, action, relative_action."""
    return LeRobotEpisodeLoader(dataset, config).get_dataset_statistics()


def merge(parts: list[Any], weights: list[float]) -> dict[str, Any]:
    """As GR00T's mixture of datasets does for one tag."""
    return {
        modality: merge_statistics([part[modality] for part in parts], weights, modality == "relative_action")
        for modality in MODALITIES
    }


@pytest.fixture
def halves(tmp_path: Path) -> tuple[Path, Path]:
    """Two datasets of one robot."""
    write_dataset(tmp_path / "source", lengths=(150, 100, 60, 90))
    for name, chosen in (("first", "0:2"), ("second", "2:4")):
        convert_here(tmp_path / "source", tmp_path / name, episodes=chosen)
    return tmp_path / "first", tmp_path / "second"


def test_statistics_of_several_datasets_merge_to_what_groots_own_do(halves: tuple[Path, Path], tmp_path: Path) -> None:
    config = register(halves[0])
    ours = merge([load_statistics(half, config) for half in halves], [0.7, 0.3])
    copies = [compute_by_groot(half, tmp_path / f"copy of {half.name}") for half in halves]
    groots = merge([load_statistics(half, config) for half in copies], [0.7, 0.3])
    assert {modality: set(groups) for modality, groups in ours.items()} == {
        modality: set(groups) for modality, groups in groots.items()
    }
    assert FINGERPRINTS not in ours["relative_action"]
    for modality, groups in groots.items():
        for group, entry in groups.items():
            for stat, values in entry.items():
                # The merge takes the difference of two squares: it loses half of the digits of a std.
                tolerance = 2e-4 if stat == "std" else TOLERANCE
                assert_close(ours[modality][group][stat], values, f"{stat} of {modality} {group}", tolerance)


@pytest.mark.parametrize("use_percentiles", [False, True])
def test_joints_are_scaled_as_by_groots_own_statistics(gr1: Path, use_percentiles: bool, tmp_path: Path) -> None:
    config = register(gr1)
    parts = [load_statistics(folder, config) for folder in (gr1, compute_by_groot(gr1, tmp_path / "copy"))]
    settings = {"use_percentiles": use_percentiles, "use_relative_action": True}
    ours, groots = (StateActionProcessor({TAG.value: config}, {TAG.value: part}, **settings) for part in parts)
    state, action = read_chunk(gr1, 0, config), read_chunk(gr1, 0, config, modality="action")
    for found, expected in (
        (ours.apply_state(state, TAG.value), groots.apply_state(state, TAG.value)),
        (ours.apply_action(action, TAG.value, state), groots.apply_action(action, TAG.value, state)),
    ):
        assert found.keys() == expected.keys()
        for group, values in expected.items():
            assert_close(found[group], values, group, tolerance=1e-4)


def read_chunk(dataset: Path, start: int, config: Any, modality: str = "state") -> dict[str, Any]:
    """A state, (1, D), or a chunk of actions, (H, D), of each trained group in the first episode."""
    column = {"state": "observation.state", "action": "action"}[modality]
    rows = read_vectors(
        read_table(next(dataset.glob("data/*/episode_000000.parquet")), [column]), column, where=dataset
    )
    steps = [start + delta for delta in config[modality].delta_indices]
    places = read_meta(dataset, "modality.json")[modality]
    return {key: rows[steps][:, places[key]["start"] : places[key]["end"]] for key in config[modality].modality_keys}


def test_percentiles_scale_the_quantiles_to_plus_and_minus_one(gr1: Path) -> None:
    config = register(gr1)
    processor = StateActionProcessor(
        {TAG.value: config}, {TAG.value: load_statistics(gr1, config)}, use_percentiles=True
    )
    places, stats = read_meta(gr1, "modality.json")["state"], entries(gr1, "stats.json")["observation.state"]
    for quantile, edge in (("q01", -1.0), ("q99", 1.0)):
        values = np.asarray(stats[quantile], np.float32)[None]
        state = {key: values[:, places[key]["start"] : places[key]["end"]] for key in config["state"].modality_keys}
        scaled = processor.apply_state(state, TAG.value)
        for key in ("left_arm", "right_arm"):
            # GR1's arms have a joint more than ALOHA's, which rests: GR00T makes 0 of it.
            np.testing.assert_allclose(scaled[key][0, :-1], edge, atol=1e-5)
            assert scaled[key][0, -1] == 0


def test_builds_without_their_guard_stop_at_fingerprints_of_relative_statistics(gr1: Path, tmp_path: Path) -> None:
    """N1.6 and the first N1.7 do, so that datasets do not have them; later builds skip what has no mean."""
    dataset = Path(shutil.copytree(gr1, tmp_path / "copy", ignore=shutil.ignore_patterns("videos")))
    config = register(dataset)
    edit_json(dataset / "meta/relative_stats.json", lambda content: content.update({FINGERPRINTS: {}}))
    part = load_statistics(dataset, config)
    if '"mean" not in' in Path(sharded_mixture_dataset.__file__).read_text():
        assert set(merge([part, part], [0.5, 0.5])["relative_action"]) == {"left_arm", "right_arm"}
    else:
        with pytest.raises(KeyError, match="mean"):
            merge([part, part], [0.5, 0.5])


def test_a_run_on_such_a_dataset_gets_a_view_that_its_build_reads(gr1: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(gr1, tmp_path / "copy"))
    edit_json(dataset / "meta/relative_stats.json", lambda content: content.update({FINGERPRINTS: {}}))
    settings = FinetuneSettings(
        datasets=(dataset,), base_model_path="base", output_dir=tmp_path / "run", num_gpus=0, cpu=True
    )
    view = complete_statistics(settings, lambda line: None).groot_path(dataset)
    assert view.parent == tmp_path / "run/dataset_views"
    part = load_statistics(view, register(dataset))
    assert set(merge([part, part], [0.5, 0.5])["relative_action"]) == {"left_arm", "right_arm"}
    assert read_meta(dataset, "relative_stats.json")[FINGERPRINTS] == {}


def test_fingerprints_in_stats_json_disturb_nobody(gr1: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(gr1, tmp_path / "copy", ignore=shutil.ignore_patterns("videos")))
    edit_json(bare / "meta/stats.json", lambda content: content.pop(FINGERPRINTS) and None)
    config = register(gr1)
    parts = [load_statistics(folder, config) for folder in (gr1, bare)]
    assert parts[0] == parts[1]
    assert merge([parts[0]] * 2, [0.5, 0.5]) == merge([parts[1]] * 2, [0.5, 0.5])
