"""A view shows GR00T a dataset with statistics for one tag and action chunk, and leaves the dataset as it is."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import convert_here, data_path, files_of, read_meta
from millrace.engine.dataset.fingerprints import FINGERPRINTS, feature_fingerprints, relative_fingerprints
from millrace.engine.dataset.groot_view import ViewPlan, read_view
from millrace.engine.dataset.modality_config import ActionRep, GrootConfig, GrootModality, read_config
from millrace.engine.dataset.view_statistics import Purpose
from millrace.engine.errors import DatasetError, OutputExists, RowsError
from support.synthetic import edit_json

TAG = "new_embodiment"


@pytest.fixture
def converted(aloha_gr1: Path, tmp_path: Path) -> Path:
    """A copy of the converted dataset, without what is no part of it."""
    return Path(shutil.copytree(aloha_gr1, tmp_path / "gr1", ignore=shutil.ignore_patterns(".millrace")))


def purpose(dataset: Path, *, tag: str = TAG, steps: range | None = None, has_fingerprints: bool = True) -> Purpose:
    """What the dataset's own config trains, or that with other steps."""
    config = read_config(dataset)
    if steps is not None:
        action = replace(config.modalities["action"], delta_indices=tuple(steps))
        config = replace(config, modalities={**config.modalities, "action": action})
    return Purpose(config, tag, has_fingerprints)


def plan(dataset: Path, **settings: Any) -> ViewPlan:
    return ViewPlan.of(dataset, purpose(dataset, **settings))


def snapshot(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Every file below a folder: its number on disk, time of change and content."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def without_fingerprints(content: dict[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in content.items() if name != FINGERPRINTS}


def test_a_view_takes_the_statistics_and_adds_fingerprints(converted: Path, tmp_path: Path) -> None:
    before = snapshot(converted)
    made = plan(converted)
    assert (made.statistics.computed, dict(made.statistics.left)) == ((), {})
    assert made.write(tmp_path / "view")
    stats, relative = (read_meta(tmp_path / "view", name) for name in ("stats.json", "relative_stats.json"))
    assert stats == read_meta(converted, "stats.json")
    assert without_fingerprints(relative) == read_meta(converted, "relative_stats.json")
    assert relative[FINGERPRINTS] == relative_fingerprints(read_config(converted), TAG)
    assert snapshot(converted) == before


def test_all_else_is_the_datasets_own(converted: Path, tmp_path: Path) -> None:
    plan(converted).write(tmp_path / "view")
    seen, own = files_of(tmp_path / "view"), files_of(converted)
    rewritten = {"meta/stats.json", "meta/relative_stats.json", "millrace_view.json"}
    assert {name: content for name, content in seen.items() if name not in rewritten and name in own} == {
        name: content for name, content in own.items() if name in seen and name not in rewritten
    }
    for name in ("data", "videos", "modality_config.py", "millrace.json", "README.md", "meta/episodes_stats.jsonl"):
        assert (tmp_path / "view" / name).resolve() == (converted / name).resolve()
    assert data_path(tmp_path / "view", 2).read_bytes() == data_path(converted, 2).read_bytes()
    for name in ("info.json", "episodes.jsonl", "tasks.jsonl", "modality.json"):
        assert not (tmp_path / "view/meta" / name).is_symlink()


def test_n1_6_gets_no_fingerprints_beside_relative_statistics(converted: Path, tmp_path: Path) -> None:
    edit_json(converted / "meta/relative_stats.json", lambda content: content.update({FINGERPRINTS: {}}))
    plan(converted, has_fingerprints=False).write(tmp_path / "view")
    assert set(read_meta(tmp_path / "view", "relative_stats.json")) == {"left_arm", "right_arm"}
    assert FINGERPRINTS in read_meta(tmp_path / "view", "stats.json")


def test_the_same_view_again_changes_nothing(converted: Path, tmp_path: Path) -> None:
    assert plan(converted).write(tmp_path / "view")
    before = snapshot(tmp_path / "view")
    assert not plan(converted).write(tmp_path / "view")
    assert snapshot(tmp_path / "view") == before


def test_another_action_chunk_has_the_statistics_of_a_conversion_with_it(
    aloha: Path, converted: Path, tmp_path: Path
) -> None:
    made = plan(converted, steps=range(7))
    assert made.statistics.computed == ("relative left_arm", "relative right_arm")
    made.write(tmp_path / "view")
    convert_here(aloha, tmp_path / "seven", horizon=7)
    relative = read_meta(tmp_path / "view", "relative_stats.json")
    assert without_fingerprints(relative) == read_meta(tmp_path / "seven", "relative_stats.json")
    assert relative[FINGERPRINTS] == relative_fingerprints(read_config(tmp_path / "seven"), TAG)


def test_steps_with_gaps_have_the_statistics_of_their_frames(aloha: Path, converted: Path, tmp_path: Path) -> None:
    plan(converted, steps=range(0, 7, 3)).write(tmp_path / "view")
    convert_here(aloha, tmp_path / "seven", horizon=7)
    found, every = (read_meta(tmp_path / name, "relative_stats.json") for name in ("view", "seven"))
    for stat, values in every["left_arm"].items():
        np.testing.assert_array_equal(found["left_arm"][stat], np.array(values)[[0, 3, 6]])


def test_two_tags_and_two_chunks_at_once_do_not_meet(converted: Path, tmp_path: Path) -> None:
    plans = {
        "new": plan(converted),
        "gr1": plan(converted, tag="gr1"),
        "short": plan(converted, steps=range(5)),
    }
    before = snapshot(converted)
    for name, made in plans.items():
        made.write(tmp_path / "views" / name)
    prints = [read_meta(tmp_path / "views" / name, "relative_stats.json")[FINGERPRINTS]["left_arm"] for name in plans]
    assert len(set(prints)) == 3
    assert snapshot(converted) == before


def test_relative_statistics_of_unknown_steps_are_computed_again(converted: Path, tmp_path: Path) -> None:
    """A stored entry may have as many steps, but other ones: only its fingerprint or the dataset's config can tell."""
    known = purpose(converted)
    (converted / "modality_config.py").unlink()
    wrong = {stat: (np.array(values) + 1).tolist() for stat, values in relative_of(converted)["left_arm"].items()}
    right = relative_of(converted)["left_arm"]
    edit_json(converted / "meta/relative_stats.json", lambda content: content.update(left_arm=wrong))
    made = ViewPlan.of(converted, known)
    assert made.statistics.computed == ("relative left_arm", "relative right_arm")
    made.write(tmp_path / "view")
    assert relative_of(tmp_path / "view")["left_arm"] == right


def relative_of(dataset: Path) -> Any:
    return read_meta(dataset, "relative_stats.json")


@pytest.mark.parametrize(("tag", "computed"), [(TAG, 0), ("gr1", 2)])
def test_a_fingerprint_tells_what_relative_statistics_are_of(
    tag: str, computed: int, converted: Path, tmp_path: Path
) -> None:
    known = purpose(converted, tag=tag)
    due = relative_fingerprints(known.config, TAG)
    edit_json(converted / "meta/relative_stats.json", lambda content: content.update({FINGERPRINTS: due}))
    assert len(ViewPlan.of(converted, known).statistics.computed) == computed


def test_a_feature_of_another_type_or_incomplete_is_computed_again(converted: Path, tmp_path: Path) -> None:
    right = read_meta(converted, "stats.json")
    edit_json(converted / "meta/stats.json", lambda content: content[FINGERPRINTS].update(action="sha256:0"))
    edit_json(converted / "meta/stats.json", lambda content: content["timestamp"].pop("q99") and None)
    made = plan(converted)
    assert made.statistics.computed == ("action", "timestamp")
    made.write(tmp_path / "view")
    assert read_meta(tmp_path / "view", "stats.json") == right


def test_a_dataset_without_statistics_gets_them_in_the_view_alone(converted: Path, tmp_path: Path) -> None:
    right = {name: read_meta(converted, name) for name in ("stats.json", "relative_stats.json")}
    for name in right:
        (converted / "meta" / name).unlink()
    plan(converted).write(tmp_path / "view")
    assert read_meta(tmp_path / "view", "stats.json") == right["stats.json"]
    assert without_fingerprints(relative_of(tmp_path / "view")) == right["relative_stats.json"]
    assert not (converted / "meta/stats.json").exists()


def test_statistics_without_fingerprints_are_taken(converted: Path, tmp_path: Path) -> None:
    """As N1.6 or an earlier Millrace wrote them; entries of what is no float feature are left out."""
    right = read_meta(converted, "stats.json")
    edit_json(converted / "meta/stats.json", lambda content: content.pop(FINGERPRINTS) and None)
    edit_json(converted / "meta/stats.json", lambda content: content.update(index=content["timestamp"]))
    made = plan(converted)
    assert made.statistics.computed == ()
    made.write(tmp_path / "view")
    assert read_meta(tmp_path / "view", "stats.json") == right


def config_with(action: ActionRep, *, steps: tuple[int, ...] = tuple(range(16)), key: str = "left_arm") -> GrootConfig:
    return GrootConfig(
        {
            "state": GrootModality(("left_arm", "left_hand"), (0,)),
            "action": GrootModality((key,), steps, action_configs=(action,)),
        }
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (config_with(ActionRep("RELATIVE", "EEF", format="XYZ_ROT6D")), "differences of poses"),
        (config_with(ActionRep("RELATIVE"), steps=(1, 2)), "do not go on from the last state"),
        (config_with(ActionRep("RELATIVE"), steps=tuple(range(40))), "no episode has the 40 frames"),
        (config_with(ActionRep("RELATIVE", state_key="left_hand")), "'left_arm' has 7 action values, but 6 in"),
    ],
)
def test_what_only_groot_computes_is_left_out_and_said(
    config: GrootConfig, reason: str, converted: Path, tmp_path: Path
) -> None:
    made = ViewPlan.of(converted, Purpose(config, TAG, has_fingerprints=True))
    assert reason in made.statistics.left["left_arm"]
    made.write(tmp_path / "view")
    assert relative_of(tmp_path / "view") == {FINGERPRINTS: {}}


def test_a_config_without_relative_actions_needs_no_entry(converted: Path, tmp_path: Path) -> None:
    """GR00T N1.7 writes this very text in every run."""
    ViewPlan.of(converted, Purpose(config_with(ActionRep("ABSOLUTE")), TAG, has_fingerprints=True)).write(
        tmp_path / "view"
    )
    text = (tmp_path / "view/meta/relative_stats.json").read_text()
    assert text == json.dumps({FINGERPRINTS: {}}, indent=4)


def test_relative_actions_need_a_state(converted: Path) -> None:
    action = config_with(ActionRep("RELATIVE")).modalities["action"]
    with pytest.raises(DatasetError, match="has no state for its RELATIVE actions left_arm"):
        ViewPlan.of(converted, Purpose(GrootConfig({"action": action}), TAG, has_fingerprints=True))


def test_metadata_that_cannot_be_read_is_told_with_the_dataset(converted: Path) -> None:
    known = purpose(converted)
    (converted / "meta/tasks.jsonl").write_text("[]\n")
    with pytest.raises(DatasetError, match=rf"{converted}: meta/tasks\.jsonl line 1"):
        ViewPlan.of(converted, known)


def test_a_folder_that_is_no_view_is_refused(converted: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match="holds something else than a view; choose another folder"):
        plan(converted).write(tmp_path / "mine", overwrite=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_becomes_the_view(converted: Path, tmp_path: Path) -> None:
    (tmp_path / "view").mkdir()
    assert plan(converted).write(tmp_path / "view")
    assert read_view(tmp_path / "view") is not None


@pytest.mark.parametrize("place", ["gr1", "gr1/view", "gr1/meta", "."])
def test_nothing_is_written_into_a_dataset(place: str, converted: Path, tmp_path: Path) -> None:
    before = snapshot(converted)
    with pytest.raises(OutputExists, match="lie within each other"):
        plan(converted).write(tmp_path / place, overwrite=True)
    assert snapshot(converted) == before


def test_another_view_is_replaced_on_demand_only(converted: Path, tmp_path: Path) -> None:
    plan(converted).write(tmp_path / "view")
    before = snapshot(converted)
    with pytest.raises(
        OutputExists, match=r"is a view of .*gr1 for new_embodiment, with fingerprints; .*overwrite=True"
    ):
        plan(converted, tag="gr1").write(tmp_path / "view")
    assert plan(converted, tag="gr1").write(tmp_path / "view", overwrite=True)
    view = read_view(tmp_path / "view")
    assert view is not None
    assert view.embodiment_tag == "gr1"
    assert snapshot(converted) == before


def test_a_dataset_that_changed_is_another(converted: Path, tmp_path: Path) -> None:
    plan(converted).write(tmp_path / "view")
    edit_json(converted / "meta/stats.json", lambda content: content["action"]["mean"].__setitem__(0, 0.5))
    with pytest.raises(OutputExists, match="when the dataset or the modality config was another"):
        plan(converted).write(tmp_path / "view")


def test_a_view_that_fails_leaves_nothing(converted: Path, tmp_path: Path) -> None:
    made = plan(converted, steps=range(5))
    data_path(converted, 1).write_bytes(b"no parquet")
    made = plan(converted, steps=range(5))
    with pytest.raises(RowsError, match=r"episode_000001\.parquet"):
        made.write(tmp_path / "view")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gr1"]


def test_the_same_view_by_several_at_once_is_made_once(converted: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: plan(converted).write(tmp_path / "view"), range(8)))
    assert sum(made) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gr1", "view"]
    due = feature_fingerprints(read_meta(converted, "info.json")["features"])
    assert read_meta(tmp_path / "view", "stats.json")[FINGERPRINTS] == due
