"""--skip-bad: a dataset without the episodes that failed is the one of a recipe that never named them."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from conftest import LOCAL, convert_here, data_path, files_of, read_meta, recipe_for, video_path
from millrace.engine import run
from millrace.engine.convert import Summary, convert
from millrace.engine.dataset.record import EpisodeFailure, EpisodeResult
from millrace.engine.errors import EpisodesFailed, FaultCode, OutputExists
from millrace.engine.output import renumber
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.validate import validate
from support.processes import convert_in_child
from support.synthetic import SyntheticVideo, truncate_file, write_dataset

SMALL = SyntheticVideo(codec="libx264", gop=10, bframes=0)
LENGTHS = (25, 20, 30, 22, 20, 27)
# Of the task of episode 1 nothing is left without it: the numbers of the later ones change.
TASKS = ["fold", "lift", ["stack", "fold"], "stack", "fold", "wave"]
BAD = (1, 4)
GOOD = "0,2,3,5"
SETTINGS: dict[str, Any] = {"robot": "aloha", "horizon": 4, "chunks_size": 2}


def skip_bad(recipe: Recipe, out: Path) -> tuple[Summary, list[int]]:
    """The summary, and which of the source's episodes were converted now."""
    converted: list[int] = []

    def on_result(result: EpisodeResult) -> None:
        if result.kind == "done":
            converted.append(result.source_episode)

    return convert(recipe, out, workers=LOCAL, skip_bad=True, on_result=on_result), converted


def assert_same_but_for_the_quarantine(ours: Path, theirs: Path) -> None:
    mine, expected = files_of(ours), files_of(theirs)
    assert list(mine) == list(expected)
    # The card and the manifest alone name what was left out.
    assert [name for name in expected if mine[name] != expected[name]] == ["README.md", "millrace.json"]
    manifests = [json.loads((folder / "millrace.json").read_text()) for folder in (ours, theirs)]
    assert manifests[0].pop("quarantine")
    for manifest in manifests:
        for source in manifest["recipe"]["sources"]:
            source.pop("episodes")
        manifest["files"] = [file for file in manifest["files"] if file["path"] != "README.md"]
    assert manifests[0] == manifests[1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes; the video of one is missing, the rows of another are cut."""
    root = tmp_path_factory.mktemp("bad") / "source"
    write_dataset(root, lengths=LENGTHS, tasks=TASKS, cameras=("top", "wrist"), video=SMALL)
    video_path(root, BAD[0], "wrist").unlink()
    truncate_file(data_path(root, BAD[1]), 0.5)
    return root


@pytest.fixture(scope="module")
def good(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The conversion of a recipe that names the others alone; not to be changed."""
    out = tmp_path_factory.mktemp("good") / "out"
    convert_here(source, out, **SETTINGS, episodes=GOOD)
    return out


def test_it_is_the_dataset_of_a_recipe_that_never_named_them(source: Path, good: Path, tmp_path: Path) -> None:
    summary, converted = skip_bad(recipe_for(source, **SETTINGS), tmp_path / "out")
    assert sorted(converted) == [0, 2, 3, 5]
    assert [(one.code.value, one.episode, one.camera) for one in summary.quarantined] == [
        ("missing", 1, "wrist"),
        ("truncated", 4, None),
    ]
    assert_same_but_for_the_quarantine(tmp_path / "out", good)
    assert [line["task"] for line in read_meta(tmp_path / "out", "tasks.jsonl")] == ["fold", "stack", "wave"]
    report = validate(tmp_path / "out", deep=True)
    assert report.problems == ()


def test_the_manifest_says_what_is_missing_and_why(source: Path, tmp_path: Path) -> None:
    skip_bad(recipe_for(source, **SETTINGS), tmp_path / "out")
    manifest = json.loads((tmp_path / "out/millrace.json").read_text())
    assert [line["source_episode"] for line in manifest["episodes"]] == [0, 2, 3, 5]
    assert manifest["quarantine"][0] == {
        "code": "missing",
        "source": source.name,
        "episode": 1,
        "camera": "wrist",
        "reason": f"no video at {video_path(source, 1, 'wrist').relative_to(source)}; "
        "to do without this camera, pass without_cameras=['wrist']",
        "remedy": "to do without this camera, pass without_cameras=['wrist']",
    }


def test_what_a_run_without_it_did_is_kept(source: Path, good: Path, tmp_path: Path) -> None:
    with pytest.raises(EpisodesFailed):
        convert_here(source, tmp_path / "out", **SETTINGS)
    assert (tmp_path / "out/quarantine.jsonl").exists()
    _, converted = skip_bad(recipe_for(source, **SETTINGS), tmp_path / "out")
    assert converted == []
    assert_same_but_for_the_quarantine(tmp_path / "out", good)


def test_once_finished_nothing_is_to_be_done(source: Path, tmp_path: Path) -> None:
    recipe = recipe_for(source, **SETTINGS)
    skip_bad(recipe, tmp_path / "out")
    before = files_of(tmp_path / "out")
    summary, converted = skip_bad(recipe, tmp_path / "out")
    assert (summary.was_finished, converted, len(summary.quarantined)) == (True, [], 2)
    with pytest.raises(OutputExists, match="is finished, but for 2 episodes that could not be converted"):
        convert(recipe, tmp_path / "out", workers=LOCAL)
    assert files_of(tmp_path / "out") == before


def renumber_one_by_one() -> None:
    """Of those that are renumbered together a kill may cost all."""
    renumber.EPISODES_AT_ONCE = 1


def test_killed_before_any_change_of_a_file_a_rerun_ends_the_same(source: Path, good: Path, tmp_path: Path) -> None:
    recipe = recipe_for(source, **SETTINGS)
    with pytest.raises(EpisodesFailed):
        convert(recipe, tmp_path / "begun", workers=LOCAL)
    for change in count(0, 7):
        out = Path(shutil.copytree(tmp_path / "begun", tmp_path / f"out_{change}"))
        code = convert_in_child(recipe, out, skip_bad=True, killed_at=change, limit=renumber_one_by_one)
        if code == 0:
            break
        assert code == -9
        _, converted = skip_bad(recipe, out)
        assert len(converted) <= 1  # the one that was being moved
        assert_same_but_for_the_quarantine(out, good)
        shutil.rmtree(out)
    assert change > 14


def test_episodes_that_were_mended_since_are_taken_in(source: Path, tmp_path: Path) -> None:
    mended, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(source, mended)
    recipe = recipe_for(mended, **SETTINGS)
    assert convert_in_child(recipe, out, skip_bad=True, killed_at=45) == -9
    shutil.copyfile(video_path(mended, 0, "wrist"), video_path(mended, 1, "wrist"))
    write_dataset(mended, lengths=LENGTHS, tasks=TASKS, cameras=("top", "wrist"), video=SMALL)
    skip_bad(recipe, out)
    convert(recipe, tmp_path / "fresh", workers=LOCAL)
    assert files_of(out) == files_of(tmp_path / "fresh")


@pytest.mark.parametrize("is_noticed", [False, True])
def test_a_finished_dataset_takes_in_on_demand_what_it_skipped(source: Path, tmp_path: Path, is_noticed: bool) -> None:
    """Also what reads otherwise now though size and time of change are the same, as after a fault of a disk."""
    healthy, out = tmp_path / "healthy", tmp_path / "out"
    shutil.copytree(source, healthy)
    video, states = video_path(healthy, 0), (video_path(healthy, 0).read_bytes(), video_path(healthy, 0).stat())
    video.write_bytes(bytes(len(states[0])))
    os.utime(video, ns=(0, states[1].st_mtime_ns))
    recipe = recipe_for(healthy, **SETTINGS)
    skip_bad(recipe, out)
    assert skip_bad(recipe, out)[1] == []
    video.write_bytes(states[0])
    os.utime(video, ns=(0, states[1].st_mtime_ns + is_noticed * 10**10))
    summary = convert(recipe, out, workers=LOCAL, retry_skipped=True)
    assert (summary.num_episodes, len(summary.quarantined), summary.was_finished) == (4, 2, False)
    skip_bad(recipe, tmp_path / "fresh")
    assert files_of(out) == files_of(tmp_path / "fresh")
    before = files_of(out)
    assert convert(recipe, out, workers=LOCAL, retry_skipped=True).num_episodes == 4  # nothing converts now
    assert files_of(out) == before


def test_a_source_of_which_nothing_is_left_is_an_error(source: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "other", lengths=(20,), cameras=("top", "wrist"), video=SMALL)
    video_path(tmp_path / "other", 0, "top").unlink()
    sources = [{"path": source}, {"path": tmp_path / "other"}]
    recipe = check_recipe({"sources": sources, "robot": "aloha", "image_size": 64, "horizon": 4})
    with pytest.raises(EpisodesFailed) as caught:
        skip_bad(recipe, tmp_path / "out")
    assert len(caught.value.lines) == 4
    assert caught.value.lines[-1].startswith(f"nothing was skipped: no episode of {tmp_path / 'other'} can be")
    assert not (tmp_path / "out/meta").exists()


def test_a_source_that_is_gone_is_not_bad_data(source: Path, tmp_path: Path) -> None:
    moving = Path(shutil.copytree(source, tmp_path / "source"))

    def unplug(result: EpisodeResult) -> None:
        if moving.exists():
            moving.rename(tmp_path / "elsewhere")

    with pytest.raises(EpisodesFailed, match=r"does not see .*, which the plan saw"):
        convert(recipe_for(moving, **SETTINGS), tmp_path / "out", workers=LOCAL, skip_bad=True, on_result=unplug)
    (tmp_path / "elsewhere").rename(moving)
    skip_bad(recipe_for(moving, **SETTINGS), tmp_path / "out")


def test_held_out_episodes_stay_held_out(source: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "holdout": "1,3"}
    skip_bad(recipe_for(source, **settings), tmp_path / "out")
    lineage = [json.loads((tmp_path / name / "millrace.json").read_text()) for name in ("out", "out_heldout")]
    assert [[line["source_episode"] for line in one["episodes"]] for one in lineage] == [[0, 2, 5], [3]]
    assert [one["quarantine"][0]["episode"] for one in lineage] == [4, 1]


def test_a_skipped_episode_that_a_disk_or_the_hub_hides_is_not_passed_over(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hides it now is no fault of its data: it is planned again, and fails, or converts, by name."""
    recipe, out = recipe_for(source, **SETTINGS), tmp_path / "out"
    skip_bad(recipe, out)
    hidden: list[bool] = [True]
    tried_again = run._Run._retry

    def retry(self: run._Run, failures: Sequence[EpisodeFailure], *arguments: Any) -> Iterator[EpisodeResult]:
        if hidden and hidden.pop():
            return (failure.model_copy(update={"code": FaultCode.HUB}) for failure in failures)
        return tried_again(self, failures, *arguments)

    monkeypatch.setattr(run._Run, "_retry", retry)
    results: list[EpisodeResult] = []
    convert(recipe, out, workers=LOCAL, retry_skipped=True, on_result=results.append)
    assert sum(isinstance(result, EpisodeFailure) for result in results) == 2
