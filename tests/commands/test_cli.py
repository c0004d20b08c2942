"""The command line: its flags, its exit codes, and one or two unwrapped lines for whatever is wrong."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from inspect import get_annotations
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import millrace
from conftest import (
    IMAGE_SIZE,
    LENGTHS,
    convert_here,
    data_path,
    files_of,
    read_meta,
    read_table,
    video_path,
)
from millrace import cli
from millrace.commands.flag_groups import find_groups
from millrace.commands.progress import ConversionProgress
from millrace.commands.unknown_flags import list_places
from millrace.embodiments.errors import MillraceError
from millrace.engine.convert import plan_conversion
from millrace.engine.planning.recipe import Recipe
from millrace.engine.video.probe import probe_video
from support.processes import LEDGER, start, wait_for_lines
from support.synthetic import (
    ALOHA_JOINTS,
    DEFAULT_TASK,
    ExtraColumn,
    SyntheticVideo,
    edit_json,
    edit_jsonl,
    replace_with_lfs_pointer,
    rewrite_parquet,
    truncate_file,
    write_dataset,
    write_video,
)

B_FRAMES = SyntheticVideo(codec="libx264", gop=250, bframes=3)


@pytest.fixture(autouse=True)
def _narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that would be wrapped, are."""
    monkeypatch.setenv("COLUMNS", "40")


def run(*arguments: object) -> int:
    """The exit code of `millrace ARGUMENTS`."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        return int(exit_.code or 0)


def convert(source: Path, out: Path, *flags: object) -> int:
    """`millrace convert`, in this process, onto GR1 unless the flags name a robot."""
    target = () if "--robot" in flags or "--map" in flags else ("--map", "aloha_to_gr1")
    size = () if "--image-size" in flags else ("--image-size", IMAGE_SIZE)
    return run("convert", source, out, "--local", "--no-report", *target, *size, *flags)


def test_the_first_command_converts(aloha: Path, aloha_gr1: Path, tmp_path: Path, capsys: Any) -> None:
    assert convert(aloha, tmp_path / "out") == 0
    assert files_of(tmp_path / "out") == files_of(aloha_gr1)
    shown = capsys.readouterr()
    assert f"wrote {tmp_path / 'out'}" in shown.out.splitlines()
    assert "Traceback" not in shown.err


def test_every_flag_reaches_the_dataset(tmp_path: Path, capsys: Any) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_dataset(source, lengths=(41, 33, 30), cameras=("cam_low", "cam_high"), fps=30)
    flags = ["--fps", "15", "--image-size", "32", "--crop", "pad", "--resample", "linspace", "--episodes", "0,2"]
    flags += ["--task", "Tidy up.", "--task-all", "--camera", "ego_view=cam_high", "--horizon", "7", "--gop", "5"]
    assert convert(source, out, *flags, "--chunks-size", "1", "--map", "aloha_to_gr1") == 0
    info, facts = read_meta(out, "info.json"), probe_video(video_path(out, 1, "ego_view", chunk=1))
    assert (info["fps"], info["total_episodes"], info["total_chunks"], info["chunks_size"]) == (15, 2, 2, 1)
    assert (facts.width, facts.gop, facts.num_frames) == (32, 5, 15)
    assert read_meta(out, "tasks.jsonl") == [{"task_index": 0, "task": "Tidy up."}]
    assert np.shape(read_meta(out, "relative_stats.json")["left_arm"]["mean"]) == (7, 7)


def test_a_rational_rate_may_be_kept(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(20,), fps=60)
    assert convert(tmp_path / "source", tmp_path / "out", "--fps", "30000/1001", "--horizon", "4") == 0
    assert read_meta(tmp_path / "out", "info.json")["fps"] == pytest.approx(30000 / 1001)
    assert convert(tmp_path / "source", tmp_path / "same", "--fps", "source") == 0
    assert read_meta(tmp_path / "same", "info.json")["fps"] == 60


def test_a_dry_run_writes_nothing(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    assert convert(aloha, tmp_path / "out", "--dry-run") == 0
    assert not (tmp_path / "out").exists()
    shown = capsys.readouterr().out
    assert "dry run: nothing was written" in shown
    assert f"{sum(LENGTHS)} in" in shown


def test_what_is_dropped_unnamed_or_unused_is_said(tmp_path: Path, capsys: Any) -> None:
    extra = {"next.reward": ExtraColumn(lambda episode, frames: frames.astype(np.float32))}
    write_dataset(tmp_path / "source", lengths=(41,), extra_columns=extra, names=None)
    assert convert(tmp_path / "source", tmp_path / "out", "--columns", "none") == 0
    shown = capsys.readouterr()
    notes = [line for line in shown.err.splitlines() if line.startswith("note: ")]
    assert "'action' names no joints; they were taken by position, in the order of robot 'aloha'" in notes[1]
    assert any("column 'next.reward' is left out: it is not asked for" in note for note in notes)
    assert "dropped columns" in shown.out
    assert "next.reward" in shown.out


def test_columns_to_carry_are_chosen_by_flags(tmp_path: Path, capsys: Any) -> None:
    flag = ExtraColumn(lambda episode, frames: frames == 3, dtype="bool")
    write_dataset(tmp_path / "source", lengths=(41,), extra_columns={"next.done": flag, "next.success": flag})
    assert convert(tmp_path / "source", tmp_path / "out", "--without-columns", "next.done", "--dry-run") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "carried columns next.success dropped columns next.done" in shown
    assert "true where any is for 'next.success'" in shown
    assert convert(tmp_path / "source", tmp_path / "out", "--columns", "next.sucess") == 2
    assert "Did you mean 'next.success'" in capsys.readouterr().err
    assert convert(tmp_path / "source", tmp_path / "out", "--columns", "a,,b") == 2
    assert "--columns takes names such as next.reward,next.done, not 'a,,b'" in capsys.readouterr().err


def test_the_same_command_continues_a_stopped_run(aloha: Path, aloha_gr1: Path, tmp_path: Path, capsys: Any) -> None:
    video = video_path(aloha, 2)
    hidden = video.rename(video.with_suffix(".hidden"))
    try:
        assert convert(aloha, tmp_path / "out") == 1
    finally:
        hidden.rename(video)
    assert convert(aloha, tmp_path / "out") == 0
    assert "continuing: 2 of 3 episodes are done" in capsys.readouterr().err
    assert files_of(tmp_path / "out") == files_of(aloha_gr1)


def test_a_plan_made_again_within_a_run_is_not_shown_again(aloha: Path) -> None:
    plan, shown = plan_conversion(Recipe.single(aloha, map="aloha_to_gr1", crop="center")), StringIO()
    progress = ConversionProgress(Console(file=shown, width=1000))
    progress.on_plan(plan, 0)
    first = shown.getvalue()
    progress.on_plan(plan, 2)
    assert "note: " in first
    assert shown.getvalue() == first


def test_overwrite_replaces_a_finished_dataset(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    assert convert(aloha, tmp_path / "out") == 0
    assert convert(aloha, tmp_path / "out", "--fps", "10", "--horizon", "4") == 2
    assert "Changed: --fps: 20 -> 10; --horizon: none -> 4" in capsys.readouterr().err
    assert convert(aloha, tmp_path / "out", "--fps", "10", "--horizon", "4", "--overwrite") == 0
    assert read_meta(tmp_path / "out", "info.json")["fps"] == 10


def test_a_finished_dataset_converted_again_is_left_as_it_is(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    assert convert(aloha, tmp_path / "out") == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    capsys.readouterr()
    assert convert(aloha, tmp_path / "out") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'} is finished already: nothing to do\n"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_a_finished_dataset_whose_source_changed_is_not_touched(tmp_path: Path, capsys: Any) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    assert convert(tmp_path / "source", tmp_path / "out") == 0
    before = files_of(tmp_path / "out")
    os.utime(video_path(tmp_path / "source", 1))
    assert convert(tmp_path / "source", tmp_path / "out") == 2
    told = "holds a finished dataset, but 1 of its 3 episodes were changed since, such as 1: "
    assert told in capsys.readouterr().err
    assert files_of(tmp_path / "out") == before


def without_notes(err: str) -> list[str]:
    """Lines on standard error that are no notes on what is planned or done."""
    return [line for line in err.splitlines() if not line.startswith(("note: ", "trying "))]


def test_what_failed_is_in_a_table(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    for episode in (0, 2):
        video_path(tmp_path / "source", episode).unlink()
    rewrite_parquet(data_path(tmp_path / "source", 1), nan_in_row_7)
    assert convert(tmp_path / "source", tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert "trying 3 failed episodes once more" in shown.err.splitlines()
    assert [line.split(": ")[0] for line in without_notes(shown.err)] == [
        "episode 0, camera top",
        "episode 1",
        "episode 2, camera top",
        f"0 of 3 episodes are converted and kept; {tmp_path / 'out/quarantine.jsonl'} lists the others",
    ]
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["missing", "2", "0,", "2", "no", "video", "at"] in [row[:7] for row in rows]
    assert ["not-finite", "1", "1", "column"] in [row[:4] for row in rows]
    assert convert(tmp_path / "source", tmp_path / "other", "--skip-bad") == 1  # nothing would be left


def test_what_failed_is_told_though_the_table_cannot_be_written(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS[:1])
    video_path(tmp_path / "source", 0).unlink()
    with open("/dev/full", "wb", buffering=0) as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", TextIOWrapper(full, encoding="utf-8", write_through=True))
        assert convert(tmp_path / "source", tmp_path / "out") == 1
    told = without_notes(capsys.readouterr().err)
    assert told[0].startswith("episode 0, camera top: no video at ")
    assert told[-1] == "[Errno 28] No space left on device"


def of_33_frames_but(num_frames: int) -> Callable[[Path], None]:
    return lambda source: write_video(video_path(source, 1), num_frames=num_frames, fps=50, episode=1, video=B_FRAMES)


VIDEO_FAULTS: dict[str, Callable[[Path], object]] = {
    "missing": lambda source: video_path(source, 1).unlink(),
    "short": of_33_frames_but(32),
    "long": of_33_frames_but(34),
    "truncated": lambda source: truncate_file(video_path(source, 1), 0.5),
    "corrupt": lambda source: video_path(source, 1).write_bytes(b"\x00\x00\x00\x18ftypmp42" + b"\xff" * 4000),
    "pointer": lambda source: replace_with_lfs_pointer(video_path(source, 1)),
}


@pytest.mark.parametrize("fault", VIDEO_FAULTS)
def test_a_faulty_video_is_one_unwrapped_line(tmp_path: Path, capsys: Any, fault: str) -> None:
    source = tmp_path / "a folder whose name alone is longer than many a terminal is wide, by far"
    write_dataset(source, lengths=LENGTHS, video=B_FRAMES)
    VIDEO_FAULTS[fault](source)
    assert convert(source, tmp_path / "out") == 1
    line, advice = without_notes(capsys.readouterr().err)
    assert line.startswith("episode 1, camera top: ")
    assert str(video_path(source, 1)) in line
    assert advice.startswith("2 of 3 episodes are converted and kept; ")
    assert advice.endswith("fix them and run the same command again, or pass --skip-bad to finish without them")
    assert not (tmp_path / "out/meta").exists()


def nan_in_row_7(table: Any) -> Any:
    state = np.array(table["observation.state"].to_pylist(), np.float32)
    state[7, 3] = np.nan
    return table.set_column(0, "observation.state", [list(state)])


def other_names(info: Any) -> None:
    info["features"]["action"]["names"] = ["knee", *ALOHA_JOINTS[1:]]


def no_camera(info: Any) -> None:
    del info["features"]["observation.images.top"]


def half_a_character(source: Path) -> None:
    """A task that JSON can hold and UTF-8 cannot."""
    for path in (source / "meta/tasks.jsonl", source / "meta/episodes.jsonl"):
        path.write_text(path.read_text().replace(DEFAULT_TASK, "\\ud800"))


BAD_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "no rows": (lambda source: data_path(source, 1).unlink(), "episode 1: no rows at "),
    "cut rows": (lambda source: truncate_file(data_path(source, 1), 0.5), "episode 1: "),
    "nan": (
        lambda source: rewrite_parquet(data_path(source, 1), nan_in_row_7),
        "episode 1: column 'observation.state'",
    ),
    "names": (lambda source: edit_json(source / "meta/info.json", other_names), "{source}, column 'action'"),
    "no JSON": (lambda source: (source / "meta/info.json").write_text("{"), "{source}/meta/info.json is not JSON"),
    "twice": (
        lambda source: edit_jsonl(source / "meta/episodes.jsonl", lambda rows: [*rows, {**rows[1], "length": 9}]),
        "episode 1: {source}/meta/episodes.jsonl:2 and {source}/meta/episodes.jsonl:4 list the episode",
    ),
    "no camera": (
        lambda source: edit_json(source / "meta/info.json", no_camera),
        "'top' is not a camera of {source}",
    ),
    "no text": (half_a_character, "none of the 3 episodes of {source} can be read; episode 0: {source}/meta/"),
}


@pytest.mark.parametrize("fault", BAD_DATA)
def test_bad_data_is_exit_code_1(tmp_path: Path, capsys: Any, fault: str) -> None:
    source = tmp_path / "source"
    write_dataset(source, lengths=LENGTHS)
    spoil, told = BAD_DATA[fault]
    spoil(source)
    assert convert(source, tmp_path / "out") == 1
    lines = [line for line in without_notes(capsys.readouterr().err) if " are converted and kept; " not in line]
    assert len(lines) == 1
    assert lines[0].startswith(told.format(source=source))


def test_a_missing_source_is_exit_code_1(tmp_path: Path, capsys: Any) -> None:
    assert convert(tmp_path / "nowhere", tmp_path / "out") == 1
    neither = "there is no such folder, and it is no Hub id (org/name[@revision])"
    assert capsys.readouterr().err == f"no dataset at {tmp_path / 'nowhere'}: {neither}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--map", "aloha_to_gr"], "'aloha_to_gr' is not a map. Did you mean 'aloha_to_gr1'? Known: "),
        (["--map", "./nothing.yaml"], "nothing.yaml"),
        (["--robot", "alohaa"], "'alohaa' is not a robot"),
        (["--fps", "60"], "cannot make 60 Hz from 50 Hz"),
        (["--fps", "fast"], "fps: a frame rate is a number"),
        (["--fps", "0"], "fps: a frame rate lies above 0"),
        (["--image-size", "15"], "--image-size: sides of 16 to 4096 pixels can be made, not 15"),
        (["--image-size", "321x180"], "the nearest even sizes are 320x180 or 322x180"),
        (["--image-size", "big"], "--image-size: takes 256, width x height such as 320x180, or source, not 'big'"),
        (["--image-size", "source", "--crop", "pad"], "--crop: --image-size source keeps whole frames as they are"),
        (["--gop", "0"], "--gop: "),
        (["--holdout", "0"], "--holdout: 0 is ambiguous: give no holdout to hold out nothing, or 0:1"),
        (["--episodes", "first"], "episodes: episodes are given as A:B"),
        (["--episodes", "7"], "--episodes 7: "),
        (["--episodes", "2:1"], "--episodes 2:1 selects none"),
        (["--task", " "], "task: a task is a sentence"),
        (["--horizon", "99"], "an action chunk has 99 steps"),
        (["--camera", "ego_view"], "--camera takes TARGET=SOURCE"),
        (["--camera", "ego=top"], "'ego' is not a camera of robot 'gr1'"),
        (["--workers", "0"], "workers"),
        (["--workers", "-2"], "workers"),
    ],
)
def test_a_wrong_command_is_exit_code_2(aloha: Path, tmp_path: Path, capsys: Any, flags: list[str], told: str) -> None:
    assert convert(aloha, tmp_path / "out", *flags) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert"],
        ["transform", "a", "b"],
        ["convert", "a", "b", "--robot", "aloha", "--colour", "blue"],
        ["convert", "a", "b", "--robot", "aloha", "--crop", "left"],
        ["convert", "a", "b", "--robot", "aloha", "--crop"],
    ],
)
def test_what_is_no_command_is_exit_code_2(arguments: list[str], capsys: Any) -> None:
    assert run(*arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["convret", "a", "b"], "'convret' is not a command of millrace. Did you mean 'convert'? Known: inspect, "),
        (["convert", "--hlp"], "--hlp is not a flag of `millrace convert`. Did you mean --help?"),
        (["convert", "a", "b", "--mapp", "x"], "--mapp is not a flag of `millrace convert`. Did you mean --map?"),
        (["convert", "a", "b", "--target-fps", "20"], "--target-fps is not a flag of `millrace convert`. Use --fps"),
        (["convert", "--out", "b"], "--out is not a flag of `millrace convert`. Write OUT without a flag"),
        (["convert", "--input", "a"], "--input is not a flag of `millrace convert`. Write SOURCE without a flag"),
        (["convert", "a", "b", "--resolution=9"], "--resolution is not a flag of `millrace convert`. Use --image-size"),
        (["convert", "a", "b", "--num-workers", "4"], "Use --workers"),
        (["inspect", "--repo_id", "a/b"], "Write hf://org/name in place of DATASET"),
        (["finetune", "a", "--policy.path", "b"], "Use --base-model-path"),
        (["upload", "--repo-id", "a/b"], "Write ORG/NAME without a flag"),
        (["convert", "a", "b", "--resume"], "The same command again continues a stopped run"),
        (["lerobot-train", "a"], "'lerobot-train' is not a command of millrace. Use `millrace finetune`"),
        (["download", "a/b"], "name hf://org/name in place of a folder"),
        (["--fps", "20"], "--fps is not a flag of `millrace`. Flags follow a command"),
        (["convert", "a", "b", "--xyzzy"], "`millrace convert --help` lists its flags"),
        (["maps", "show", "aloha_to_gr"], "'aloha_to_gr' is not a map. Did you mean 'aloha_to_gr1'?"),
    ],
)
def test_a_misspelt_word_is_one_line_with_what_was_meant(arguments: list[str], told: str, capsys: Any) -> None:
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"]])
def test_the_overview_is_shown_to_who_asks_for_nothing(arguments: list[str], capsys: Any) -> None:
    assert run(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [name for name in cli.COMMANDS if not any(line.startswith(f"  {name} ") for line in lines)] == []
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_flag_is_in_a_group_of_the_help(name: str, capsys: Any) -> None:
    assert run(name, "--help") == 0
    shown = capsys.readouterr().out
    bases = (group for group in find_groups(cli.COMMANDS[name]) if group is not cli.COMMANDS[name])
    titles = [group.__name__.removesuffix("Flags").removesuffix("Settings").lower() for group in bases]
    assert [title for title in titles if f"{title} options" not in shown] == []
    assert [flag for flag in list_places(cli.COMMANDS[name]).values() if flag not in shown] == []


@pytest.mark.parametrize("name", ["convert", "finetune", "evaluate", "serve"])
def test_no_group_of_the_help_is_longer_than_a_look(name: str) -> None:
    groups = find_groups(cli.COMMANDS[name])
    assert [group.__name__ for group in groups if len(get_annotations(group)) > 12] == []


def test_help_has_no_words_of_python(capsys: Any) -> None:
    """Such as (default: None), nor calls required what need not be named."""
    assert run("convert", "--help") == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "None" not in told
    assert "False" not in told
    assert "(required without --recipe)" in told


def test_version_and_help_are_commands_too(capsys: Any) -> None:
    for word in ("version", "--version", "-V"):
        assert run(word) == 0
        assert capsys.readouterr().out == f"millrace {millrace.__version__}\n"
    assert run("help", "convert") == 0
    assert "millrace convert" in capsys.readouterr().out


def test_a_flag_that_equals_the_default_is_not_ignored_beside_a_recipe(
    aloha: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "mine.yaml").write_text(f"fps: 10\nsources: [{{path: {aloha}, map: aloha_to_gr1}}]\n")
    flags = ["--fps", "20", "--image-size", "256", "--crop", "pad", "--gop", "10", "--chunks-size", "1000"]
    flags += ["--resample", "nearest"]
    assert run("convert", "--recipe", tmp_path / "mine.yaml", tmp_path / "out", *flags) == 2
    given, told = capsys.readouterr().err.split(": with --recipe, say it in ")
    assert sorted(given.split(", ")) == sorted(flags[::2])
    assert told.startswith(f"{tmp_path / 'mine.yaml'}")


def test_a_dry_run_names_what_would_be_held_out(
    aloha: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    flags = ["--dry-run", "--holdout", "1:2", "--horizon", "4", "--image-size", "64x64"]
    assert convert(aloha, tmp_path / "out", *flags) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "would hold out" in line]
    assert row.split() == f"would hold out 1 episode of {aloha}: 1".split()


def test_a_task_for_all_names_the_flag_that_it_lacks(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    assert convert(aloha, tmp_path / "out", "--task-all") == 2
    (line,) = without_notes(capsys.readouterr().err)
    assert line == '--task-all puts the text of --task in place of every task: add --task "WHAT IT DOES"'


def test_an_output_within_its_source_is_refused(tmp_path: Path, capsys: Any) -> None:
    write_dataset(tmp_path / "source", lengths=(41,))
    assert convert(tmp_path / "source", tmp_path / "source/out") == 2
    assert "source/out lies within the source " in capsys.readouterr().err


def test_python_that_names_no_recipe_is_told_what_to_write(aloha: Path, tmp_path: Path) -> None:
    with pytest.raises(MillraceError, match=r"convert takes a recipe, such as Recipe\.single\('data/aloha'"):
        millrace.convert("data/aloha", tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(MillraceError, match=r"'mapp' is not a setting of a recipe\. Did you mean 'map'\?"):
        millrace.Recipe.single(aloha, mapp="aloha_to_gr1")


def test_where_several_maps_can_be_meant_one_must_be_named(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    assert run("convert", aloha, tmp_path / "out", "--local") == 2
    shown = capsys.readouterr().err
    assert "name a map, --map NAME, for several maps lead from 'aloha': aloha_to_gr1, aloha_to_gr1_rescaled" in shown


def test_a_wrong_map_file_is_exit_code_2_with_its_line(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nsource: aloha\ntarget: gr1\ncameras: {ego_view: tip}\ngroups: {}\n"
    )
    assert convert(aloha, tmp_path / "out", "--map", tmp_path / "mine.yaml") == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'mine.yaml'}:")


def test_a_missing_task_is_exit_code_2_before_any_work(tmp_path: Path, capsys: Any) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    edit_jsonl(tmp_path / "source/meta/tasks.jsonl", lambda rows: [])
    edit_jsonl(tmp_path / "source/meta/episodes.jsonl", lambda rows: [{**row, "tasks": []} for row in rows])
    assert convert(tmp_path / "source", tmp_path / "out") == 2
    assert "say what the robot does there: --task" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert convert(tmp_path / "source", tmp_path / "out", "--task", "Fold.") == 0


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_way_is_exit_code_2(aloha: Path, tmp_path: Path, capsys: Any, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    assert convert(aloha, tmp_path / name) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert str(tmp_path / "file") in lines[0]


def test_a_foreign_folder_is_exit_code_2(aloha: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert convert(aloha, tmp_path, "--overwrite") == 2
    assert "holds notes.txt, which Millrace did not make" in capsys.readouterr().err


def test_another_recipe_is_exit_code_2(tmp_path: Path, capsys: Any) -> None:
    write_dataset(tmp_path / "source", lengths=LENGTHS)
    video_path(tmp_path / "source", 1).unlink()
    assert convert(tmp_path / "source", tmp_path / "out") == 1
    capsys.readouterr()
    assert convert(tmp_path / "source", tmp_path / "out", "--crop", "pad") == 2
    assert "Changed: --crop: center -> pad" in capsys.readouterr().err


def test_debug_shows_the_traceback(aloha: Path, tmp_path: Path) -> None:
    with pytest.raises(MillraceError, match="60 Hz from 50 Hz"):
        convert(aloha, tmp_path / "out", "--fps", "60", "--debug")


def test_names_of_a_dataset_cannot_command_the_terminal(tmp_path: Path, capsys: Any) -> None:
    name = "note\x1b[2J\nok"
    write_dataset(
        tmp_path / "source",
        lengths=(41,),
        extra_columns={name: ExtraColumn(lambda episode, frames: frames.astype(np.float32))},
    )
    assert convert(tmp_path / "source", tmp_path / "out") == 0
    shown = capsys.readouterr()
    assert "\x1b[2J" not in shown.out + shown.err
    assert "x1b[2J" in shown.out


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Episodes enough to be stopped among them, and all files of their conversion."""
    folder = tmp_path_factory.mktemp("many")
    write_dataset(folder / "source", lengths=(41,) * 16, video=B_FRAMES)
    convert_here(folder / "source", folder / "reference", image_size=400)
    return folder / "source", files_of(folder / "reference")


@pytest.mark.parametrize(
    ("workers", "by"),
    [
        (["--local"], "ctrl-c"),
        (["--workers", "1"], "ctrl-c"),
        (["--workers", "1"], "sigterm"),
        pytest.param(["--workers", "1", "--executor", "ray"], "sigterm", marks=pytest.mark.cluster),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1].removeprefix("--"),
)
def test_a_stopped_run_says_how_far_it_came_and_goes_on(
    many: tuple[Path, dict[str, bytes]], tmp_path: Path, capsys: Any, workers: list[str], by: str
) -> None:
    (source, reference), out = many, tmp_path / "out"
    flags = ["--map", "aloha_to_gr1", "--image-size", "400", "--no-report"]
    with start("convert", source, out, *flags, *workers) as process:
        wait_for_lines(out / LEDGER, 4, process)
        # A terminal sends Ctrl-C to all processes of a command, a scheduler SIGTERM to the first.
        os.killpg(process.pid, signal.SIGINT) if by == "ctrl-c" else os.kill(process.pid, signal.SIGTERM)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 130
    far, how = shown.splitlines()[-2:]
    assert far in [f"{num_done} of 16 episodes are done" for num_done in range(3, 16)]
    assert how == "stopped; the same command again continues where this one stopped"
    assert "Traceback" not in shown
    assert not (out / "meta").exists()
    assert run("convert", source, out, *flags, "--local") == 0
    assert "continuing: " in capsys.readouterr().err
    ours = files_of(out)
    assert list(ours) == list(reference)
    assert [name for name in reference if ours[name] != reference[name]] == []


def test_a_command_stopped_while_it_is_imported_prints_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "millrace", "convert", "--help"]
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)  # so small that what imports waits for this process to read
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process, open(ours) as errors:
        os.close(theirs)
        next(line for line in errors if line.endswith(" millrace.embodiments.errors\n"))
        process.send_signal(signal.SIGINT)
        err = errors.read()
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines().pop() == "stopped"
    assert "Traceback" not in err


def test_a_failing_command_is_quiet_in_a_real_process(tmp_path: Path) -> None:
    with start("convert", tmp_path / "nowhere", tmp_path / "out", "--robot", "aloha") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    neither = "there is no such folder, and it is no Hub id (org/name[@revision])"
    assert err == f"no dataset at {tmp_path / 'nowhere'}: {neither}\n"


def test_rows_are_where_the_command_said(aloha: Path, tmp_path: Path) -> None:
    assert convert(aloha, tmp_path / "out", "--robot", "aloha", "--episodes", "1:2", "--horizon", "4") == 0
    assert len(read_table(tmp_path / "out", 0)) == 13
    assert not data_path(tmp_path / "out", 1).exists()
