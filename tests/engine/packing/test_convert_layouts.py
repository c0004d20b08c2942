"""`millrace convert --layout`: LeRobot v3.0 beside v2.1, or alone; stopped runs, and those with nothing to do."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import LOCAL, data_path, files_of, recipe_for
from millrace.cli import main
from millrace.engine.convert import Summary, convert, estimate
from millrace.engine.errors import OutputExists, RecipeError
from millrace.engine.packing import FileSizes
from millrace.engine.packing.layouts import Layouts, parse_layouts
from millrace.engine.sources import open_source
from support.synthetic import DEFAULT_TASK, edit_column, edit_json, write_dataset

BOTH, ALONE = Layouts(("v2.1", "v3.0")), Layouts(("v3.0",))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A dataset of three short episodes, of one camera."""
    write_dataset(tmp_path / "aloha", lengths=(12, 9, 11))
    return tmp_path / "aloha"


def run(source: Path, out: Path, layouts: Layouts, *, overwrite: bool = False, fps: int = 50) -> Summary:
    """Convert in this process, the first episode held out."""
    recipe = recipe_for(source, robot="aloha", holdout="0:1", fps=fps, horizon=4)
    return convert(recipe, out, workers=LOCAL, layouts=layouts, overwrite=overwrite)


def test_v3_alone_is_that_beside_v2(source: Path, tmp_path: Path) -> None:
    both, alone = tmp_path / "both", tmp_path / "alone"
    run(source, both, BOTH)
    summary = run(source, alone, ALONE)
    assert summary.packed is not None
    assert (summary.packed.folder, summary.packed.num_episodes) == (str(alone), 2)
    assert files_of(alone) == files_of(tmp_path / "both_v30")
    assert files_of(tmp_path / "alone_heldout") == files_of(tmp_path / "both_heldout_v30")
    assert data_path(both, 1).is_file()
    assert not list(alone.rglob("episode_*"))


@pytest.mark.parametrize("layouts", [BOTH, ALONE])
def test_a_finished_run_has_nothing_to_do(source: Path, tmp_path: Path, layouts: Layouts) -> None:
    assert not run(source, tmp_path / "out", layouts).had_nothing_to_do
    again = run(source, tmp_path / "out", layouts)
    assert again.had_nothing_to_do
    assert again.held_out is not None
    assert again.held_out.had_nothing_to_do


def test_v3_is_added_to_a_finished_dataset(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out, Layouts())
    before = data_path(out, 0).stat().st_mtime_ns
    summary = run(source, out, BOTH)
    assert summary.was_finished
    assert not summary.had_nothing_to_do
    assert data_path(out, 0).stat().st_mtime_ns == before
    assert (tmp_path / "out_v30/meta/info.json").is_file()


def test_what_was_stopped_while_files_were_joined_goes_on(source: Path, tmp_path: Path) -> None:
    out, due = tmp_path / "out", tmp_path / "due"
    run(source, due, ALONE)
    run(source, out, BOTH)
    # As a run leaves it that was killed before it had written meta/ of v3.0.
    stopped = tmp_path / "out_v30"
    shutil.rmtree(stopped / "meta")
    (stopped / "millrace.json").unlink()
    run(source, out, BOTH)
    assert files_of(stopped) == files_of(due)


@pytest.mark.parametrize("layouts", [BOTH, ALONE])
def test_other_settings_are_refused_unless_all_is_to_be_replaced(
    source: Path, tmp_path: Path, layouts: Layouts
) -> None:
    out = tmp_path / "out"
    run(source, out, layouts)
    with pytest.raises(RecipeError, match="fps"):
        run(source, out, layouts, fps=25)
    run(source, out, layouts, fps=25, overwrite=True)
    run(source, tmp_path / "due", ALONE, fps=25)
    packed = out if layouts is ALONE else tmp_path / "out_v30"
    assert files_of(packed) == files_of(tmp_path / "due")


def test_a_changed_source_is_told(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", ALONE)
    edit_column(data_path(source, 1), "observation.state", lambda values: values)
    with pytest.raises(OutputExists, match="were changed since"):
        run(source, tmp_path / "out", ALONE)


def test_files_of_others_are_told_before_work_begins(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out_v30").mkdir()
    (tmp_path / "out_v30/notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match="notes"):
        run(source, tmp_path / "out", BOTH)
    assert not (tmp_path / "out").exists()


def test_depth_is_left_out_and_said_everywhere(source: Path, tmp_path: Path) -> None:
    depth = {"dtype": "video", "shape": [64, 96, 1], "names": ["height", "width", "channels"]}
    said = "camera 'top_depth' holds depth, and is left out"
    added = {"observation.images.top_depth": {**depth, "info": {"is_depth_map": True}}}
    edit_json(source / "meta/info.json", lambda info: info["features"].update(added))
    out = tmp_path / "out"
    summary = run(source, out, BOTH)
    assert f"{source}: {said}" in summary.notes
    for folder in (out, tmp_path / "out_v30"):
        card = (folder / "README.md").read_text()
        assert f"- `aloha: {said}`" in card
        assert f"- `{DEFAULT_TASK}`" in card
        assert f"aloha: {said}" in (folder / "millrace.json").read_text()
        assert "top_depth" not in (folder / "meta/info.json").read_text()


def test_paths_may_be_relative(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(Path("aloha"), Path("out"), ALONE)
    assert open_source("out").layout == "LeRobot v3.0"


def test_layouts_are_named_with_or_without_v() -> None:
    assert parse_layouts("v2.1") == ("v2.1",)
    assert parse_layouts("2.1, 3.0") == ("v2.1", "v3.0")
    with pytest.raises(RecipeError, match="each once"):
        Layouts(("v3.0", "v3.0"))


def test_an_unknown_layout_is_an_error(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", str(source), str(tmp_path / "out"), "--robot", "aloha", "--layout"]
    assert main([*command, "v3.1"]) == 2
    assert "--layout v3.1: no layout 'v3.1'. Known: v2.1, v3.0" in capsys.readouterr().err
    assert main([*command, "v3.0", "--video-file-mb", "0"]) == 2
    assert "--video-file-mb 0: must be at least 1" in capsys.readouterr().err


def test_other_sizes_make_other_files_or_are_refused(source: Path, tmp_path: Path) -> None:
    both, alone, small = tmp_path / "both", tmp_path / "alone", FileSizes(1, 1)
    run(source, both, BOTH)
    run(source, alone, ALONE)
    before = files_of(alone)
    assert not run(source, both, replace(BOTH, sizes=small)).had_nothing_to_do
    assert len(list((tmp_path / "both_v30").rglob("*.mp4"))) == 2
    with pytest.raises(OutputExists, match=r"files of 100 MB of rows and 200 MB of video, .* pass overwrite=True"):
        run(source, alone, replace(ALONE, sizes=small))
    assert files_of(alone) == before


def test_an_estimate_is_refused_where_the_conversion_is(source: Path, tmp_path: Path) -> None:
    recipe = recipe_for(source, robot="aloha", fps=50, horizon=4)
    convert(recipe, tmp_path / "out", workers=LOCAL, layouts=ALONE)
    assert estimate(recipe, tmp_path / "out", layouts=ALONE, overwrite=True).num_episodes == 3
    (tmp_path / "other_v30").mkdir()
    (tmp_path / "other_v30/mine.txt").touch()
    with pytest.raises(OutputExists, match=r"is no LeRobot v3\.0 dataset that Millrace made"):
        estimate(recipe, tmp_path / "other", layouts=BOTH)
