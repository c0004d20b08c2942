"""A conversion that was stopped, however often and wherever, is continued by the same command to the same bytes."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import LENGTHS, LOCAL, convert_here, data_path, files_of, recipe_for, video_path
from millrace.embodiments.errors import MillraceError
from millrace.engine.convert import Summary, convert
from millrace.engine.dataset.record import EpisodeResult
from millrace.engine.errors import EpisodesFailed, OtherRecipe, OutputBusy
from millrace.engine.planning.plan import ConversionPlan
from support.synthetic import truncate_file, write_dataset

LEDGER = ".millrace/ledger.jsonl"


def stop_after(num_results: int) -> Callable[[EpisodeResult], None]:
    """A user who presses Ctrl-C once so many episodes are done."""
    seen: list[EpisodeResult] = []

    def on_result(result: EpisodeResult) -> None:
        seen.append(result)
        if len(seen) == num_results:
            raise KeyboardInterrupt

    return on_result


def stopped(source: Path, out: Path, num_results: int, **settings: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        convert(recipe_for(source, **settings), out, workers=LOCAL, on_result=stop_after(num_results))


def continued(source: Path, out: Path, **settings: Any) -> tuple[Summary, int, list[int]]:
    """The summary, how many episodes were told to be done, and which ones were converted now."""
    told: list[int] = []
    converted: list[int] = []

    def on_plan(plan: ConversionPlan, num_done: int) -> None:
        told.append(num_done)

    summary = convert(
        recipe_for(source, **settings),
        out,
        workers=LOCAL,
        on_plan=on_plan,
        on_result=lambda result: converted.append(result.index),
    )
    return summary, told[0], converted


def places(out: Path) -> dict[Path, tuple[int, int]]:
    """What changes when a file is written anew: inode and time."""
    found = (path for path in out.rglob("*") if path.is_file() and ".millrace" not in path.parts)
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize("num_results", [1, 2, 3])
def test_resume_skips_finished_episodes(aloha: Path, aloha_gr1: Path, tmp_path: Path, num_results: int) -> None:
    stopped(aloha, tmp_path, num_results)
    assert not (tmp_path / "meta").exists()
    before = places(tmp_path)
    assert len(before) == 2 * num_results
    summary, num_done, converted = continued(aloha, tmp_path)
    assert (num_done, summary.num_resumed) == (num_results, num_results)
    assert converted == list(range(num_results, len(LENGTHS)))
    assert before.items() <= places(tmp_path).items()
    assert files_of(tmp_path) == files_of(aloha_gr1)


def test_resume_of_a_resumed_run(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    for _ in range(2):
        stopped(aloha, tmp_path, 1)
    _, num_done, converted = continued(aloha, tmp_path)
    assert (num_done, converted) == (2, [2])
    assert files_of(tmp_path) == files_of(aloha_gr1)


def test_a_stopped_run_leaves_no_half_written_file(aloha: Path, tmp_path: Path) -> None:
    stopped(aloha, tmp_path, 2)
    assert sorted(path.name for path in (tmp_path / ".millrace").iterdir()) == [".gitignore", "ledger.jsonl", "lock"]
    assert len(list(tmp_path.rglob("*.mp4"))) == len(list(tmp_path.rglob("*.parquet"))) == 2


def test_what_a_killed_run_left_is_cleared_away(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    stopped(aloha, tmp_path, 1)
    stray = tmp_path / ".millrace/run-killed/2.ego_view"
    stray.parent.mkdir()
    stray.write_bytes(b"half a video")
    continued(aloha, tmp_path)
    assert not stray.parent.exists()
    assert files_of(tmp_path) == files_of(aloha_gr1)


def cut_last_line(ledger: Path) -> None:
    truncate_file(ledger, 0.97)


def spoil_last_line(ledger: Path) -> None:
    *lines, last = ledger.read_text().splitlines()
    ledger.write_text("\n".join([*lines, "#" * len(last)]) + "\n")


def forget_last_line(ledger: Path) -> None:
    ledger.write_text("".join(f"{line}\n" for line in ledger.read_text().splitlines()[:-1]))


def append_half_a_line(ledger: Path) -> None:
    with ledger.open("a") as file:
        file.write('{"kind": "done", "index": 2, "bin')


@pytest.mark.parametrize(
    ("damage", "num_left"),
    [(cut_last_line, 1), (spoil_last_line, 1), (forget_last_line, 1), (append_half_a_line, 2)],
)
def test_a_damaged_line_costs_its_episode_and_no_other(
    aloha: Path, aloha_gr1: Path, tmp_path: Path, damage: Callable[[Path], None], num_left: int
) -> None:
    stopped(aloha, tmp_path, 2)
    damage(tmp_path / LEDGER)
    _, num_done, converted = continued(aloha, tmp_path)
    assert (num_done, converted) == (num_left, list(range(num_left, 3)))
    assert files_of(tmp_path) == files_of(aloha_gr1)


def test_a_ledger_that_was_never_begun_begins_anew(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    stopped(aloha, tmp_path, 1)
    (tmp_path / LEDGER).write_text('{"recipe": {"sour')
    _, num_done, _ = continued(aloha, tmp_path)
    assert num_done == 0
    assert files_of(tmp_path) == files_of(aloha_gr1)


@pytest.mark.parametrize("header", ["not JSON\n", "[]\n", "{}\n", '{"recipe": 3}\n'])
def test_a_ledger_of_something_else_is_an_error_of_one_line(aloha: Path, tmp_path: Path, header: str) -> None:
    stopped(aloha, tmp_path, 1)
    (tmp_path / LEDGER).write_text(header)
    with pytest.raises(MillraceError, match="overwrite=True") as caught:
        continued(aloha, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("is_video", [True, False])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: truncate_file(path, 0.9)], ids=["deleted", "truncated"])
def test_an_output_file_that_is_gone_or_cut_is_made_again(
    aloha: Path, aloha_gr1: Path, tmp_path: Path, spoil: Callable[[Path], None], is_video: bool
) -> None:
    stopped(aloha, tmp_path, 3)
    spoil(video_path(tmp_path, 1, "ego_view") if is_video else data_path(tmp_path, 1))
    _, num_done, converted = continued(aloha, tmp_path)
    assert (num_done, converted) == (2, [1])
    assert files_of(tmp_path) == files_of(aloha_gr1)


def test_failed_episodes_are_tried_again(aloha_gr1: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_dataset(source, lengths=LENGTHS)
    video = video_path(source, 1)
    content = video.read_bytes()
    video.unlink()
    for _ in range(2):
        with pytest.raises(EpisodesFailed, match="episode 1, camera top: no video at"):
            convert_here(source, out)
    video.write_bytes(content)
    _, num_done, converted = continued(source, out)
    assert (num_done, converted) == (2, [1])
    ours, theirs = files_of(out), files_of(aloha_gr1)
    # Notes in the card, and the manifest, name the source, which lies elsewhere.
    assert [name for name in theirs if ours[name] != theirs[name]] == ["README.md", "millrace.json"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"fps": 25}, "fps: 20 -> 25"),
        ({"image_size": 32}, "image_size: 64 -> 32"),
        ({"crop": "pad", "gop": 5}, "crop: center -> pad; gop: 10 -> 5"),
        ({"task": "Fold.", "task_all": True}, "task: none -> Fold.; task_all: False -> True"),
        ({"map": "aloha_to_gr1_rescaled"}, "map: aloha_to_gr1 -> aloha_to_gr1_rescaled"),
    ],
)
def test_another_recipe_into_the_same_folder_is_refused(
    aloha: Path, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    stopped(aloha, tmp_path, 2)
    before = places(tmp_path)
    with pytest.raises(OtherRecipe) as caught:
        continued(aloha, tmp_path, **settings)
    advice = "choose another folder, or pass overwrite=True to replace what is there"
    assert str(caught.value) == f"{tmp_path} was created with other settings: {advice}. Changed: {told}"
    assert caught.value.exit_code == 2
    assert places(tmp_path) == before
    continued(aloha, tmp_path)


MAP = """
name: mine
source: aloha
target: aloha
cameras: {{top: top}}
groups:
  left_arm: {{copy: left_arm}}
  left_gripper: {{copy: left_gripper}}
  right_arm: {right_arm}
  right_gripper: {{copy: right_gripper}}
"""


def test_a_map_that_was_edited_in_between_is_another_recipe(aloha: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MAP.format(right_arm="{copy: right_arm}"))
    stopped(aloha, tmp_path / "out", 2, map=str(path))
    path.write_text(MAP.format(right_arm="rest"))
    with pytest.raises(OtherRecipe, match="map"):
        continued(aloha, tmp_path / "out", map=str(path))


def test_a_source_that_was_mended_in_between_gives_what_a_fresh_run_gives(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_dataset(source, lengths=LENGTHS)
    video_path(source, 1).unlink()
    with pytest.raises(EpisodesFailed):
        convert_here(source, tmp_path / "out")
    # Recorded anew: shorter, so that all later frames have other numbers, and with another task.
    write_dataset(source, lengths=(LENGTHS[0], LENGTHS[1] - 10, LENGTHS[2]), tasks=["lift", "fold", "lift"])
    convert_here(source, tmp_path / "out")
    convert_here(source, tmp_path / "fresh")
    ours, fresh = files_of(tmp_path / "out"), files_of(tmp_path / "fresh")
    assert [name for name in fresh if ours[name] != fresh[name]] == []


def edit_header(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    first, *lines = (out / LEDGER).read_text().splitlines()
    header = json.loads(first)
    change(header)
    (out / LEDGER).write_text("".join(f"{line}\n" for line in [json.dumps(header), *lines]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda header: header.pop("output version"), "was created by Millrace 0.1.0, which may write other bytes"),
        (lambda header: header.update({"output version": 1}), "was created by Millrace of another version, which may"),
        (lambda header: header["libraries"].update(numpy="0.1"), r"Changed: numpy: 0\.1 -> \d"),
        (lambda header: header["libraries"].update(x264="1"), r"Changed: x264: 1 -> \d"),
    ],
)
def test_a_version_that_may_write_other_bytes_does_not_continue_a_run(
    aloha: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    stopped(aloha, tmp_path, 1)
    edit_header(tmp_path, change)
    with pytest.raises(OtherRecipe, match=told):
        continued(aloha, tmp_path)


def forget_settings(header: dict[str, Any]) -> None:
    """As a version without these would have begun it."""
    for name in ("still", "action", "filter", "trim_idle"):
        del header[name]
    del header["sources"][0]["still"]


def test_a_run_that_was_begun_without_a_setting_is_continued_by_its_default(
    aloha: Path, aloha_gr1: Path, tmp_path: Path
) -> None:
    stopped(aloha, tmp_path, 2)
    edit_header(tmp_path, forget_settings)
    with pytest.raises(OtherRecipe, match=r"Changed: still: none -> left_arm=0\.02; action: at_frame -> mid_interval$"):
        continued(aloha, tmp_path, still={"left_arm": 0.02}, action="mid_interval")
    assert continued(aloha, tmp_path)[1:] == (2, [2])
    assert files_of(tmp_path) == files_of(aloha_gr1)


def test_values_that_look_alike_are_shown_as_they_are(aloha: Path, tmp_path: Path) -> None:
    stopped(aloha, tmp_path, 1)
    edit_header(tmp_path, lambda header: header.update(gop="10", cameras=[]))
    with pytest.raises(OtherRecipe, match=r"Changed: cameras: \[\] -> None; gop: '10' -> 10$"):
        continued(aloha, tmp_path)


def test_a_source_may_be_spelt_otherwise(aloha: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(aloha, tmp_path, 1)
    monkeypatch.chdir(aloha.parent)
    assert continued(Path(aloha.name), tmp_path)[1:] == (1, [1, 2])
    monkeypatch.chdir(aloha)
    assert convert_here(Path(f"../{aloha.name}"), tmp_path).was_finished


def test_a_finished_dataset_is_looked_at_without_writing(aloha: Path, tmp_path: Path) -> None:
    convert_here(aloha, tmp_path)
    before = (tmp_path / LEDGER).stat()
    (tmp_path / LEDGER).chmod(0o400)
    modes: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if is_watched and event == "open" and str(arguments[0]).startswith(str(tmp_path)):
            modes.append(arguments[1])

    is_watched = True
    sys.addaudithook(note)
    summary = convert_here(aloha, tmp_path)
    is_watched = False
    assert summary.was_finished
    assert set(modes) <= {"r", "rb"}
    assert (tmp_path / LEDGER).stat().st_mtime_ns == before.st_mtime_ns


def test_overwrite_begins_another_recipe_anew(aloha: Path, tmp_path: Path) -> None:
    stopped(aloha, tmp_path / "out", 2, fps=10, horizon=4)
    convert(recipe_for(aloha), tmp_path / "out", workers=LOCAL, overwrite=True)
    convert_here(aloha, tmp_path / "reference")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "reference")


def test_a_rate_is_the_same_however_it_is_written(aloha: Path, tmp_path: Path) -> None:
    stopped(aloha, tmp_path, 2, fps="20")
    _, num_done, _ = continued(aloha, tmp_path, fps=20.0)
    assert num_done == 2


def test_a_ledger_says_no_path_of_this_machine(aloha: Path, tmp_path: Path) -> None:
    stopped(aloha, tmp_path / "out", 1)
    assert str(aloha.parent) not in (tmp_path / "out" / LEDGER).read_text()
    copy = tmp_path / "moved" / aloha.name
    shutil.copytree(aloha, copy)
    with pytest.raises(OtherRecipe, match=f"Changed: source: another {aloha.name}, in another folder$"):
        continued(copy, tmp_path / "out")
    write_dataset(tmp_path / "other", lengths=LENGTHS)
    with pytest.raises(OtherRecipe, match=f"Changed: source: {aloha.name} -> other$"):
        continued(tmp_path / "other", tmp_path / "out")


def test_no_reason_of_a_failure_says_where_the_source_lies(aloha: Path, tmp_path: Path) -> None:
    source, out = Path(shutil.copytree(aloha, tmp_path / "aloha")), tmp_path / "out"
    video_path(source, 1).unlink()
    with pytest.raises(EpisodesFailed, match=f"no video at {video_path(source, 1)}"):
        convert(recipe_for(source), out, workers=LOCAL)
    relative = f"no video at {video_path(source, 1).relative_to(source)}"
    assert relative in (out / LEDGER).read_text()
    assert str(tmp_path) not in (out / LEDGER).read_text()
    summary = convert(recipe_for(source), out, workers=LOCAL, skip_bad=True)
    assert summary.quarantined[0].reason.startswith(relative)
    assert not [path for path in out.rglob("*") if path.is_file() and str(tmp_path).encode() in path.read_bytes()]


def test_every_result_is_on_disk_when_it_is_told(aloha: Path, tmp_path: Path) -> None:
    lines: list[int] = []

    def on_result(result: EpisodeResult) -> None:
        stored = (tmp_path / LEDGER).read_text().splitlines()
        lines.append(len(stored))
        assert json.loads(stored[-1])["index"] == result.index

    convert(recipe_for(aloha), tmp_path, workers=LOCAL, on_result=on_result)
    assert lines == [2, 3, 4]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_run_into_the_same_folder_stops_and_harms_nothing(
    aloha: Path, aloha_gr1: Path, tmp_path: Path, overwrite: bool
) -> None:
    def begin_another(_: EpisodeResult) -> None:
        with pytest.raises(OutputBusy, match="is being written by another run"):
            convert(recipe_for(aloha), tmp_path, workers=LOCAL, overwrite=overwrite)

    convert(recipe_for(aloha), tmp_path, workers=LOCAL, on_result=begin_another)
    assert files_of(tmp_path) == files_of(aloha_gr1)


def test_an_episode_whose_source_changed_is_done_again(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_dataset(source, lengths=LENGTHS)
    stopped(source, out, 2)
    os.utime(video_path(source, 0))
    _, num_done, converted = continued(source, out)
    assert (num_done, converted) == (1, [0, 2])


def test_a_folder_that_was_only_begun_may_be_used(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    (tmp_path / ".millrace").mkdir()
    convert_here(aloha, tmp_path)
    assert files_of(tmp_path) == files_of(aloha_gr1)
