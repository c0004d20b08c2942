"""A conversion's report shows what was made beside what it was made of, and never stands in its way."""

import io
import os
import shutil
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from conftest import LOCAL
from millrace import cli
from millrace.embodiments.mapping import MAPS
from millrace.engine.convert import convert
from millrace.engine.inspection.columns import choose_columns
from millrace.engine.layout import ACTION, MANIFEST, META, REPORT, STATE
from millrace.engine.planning import ConversionPlan
from millrace.engine.planning.recipe import Recipe
from millrace.engine.report import conversion_report, report_conversion
from millrace.engine.report.curves import draw_episode
from millrace.engine.report.joint_groups import plot_groups
from millrace.engine.report.origins import read_origins
from millrace.engine.report.recordings import find_source_recordings
from millrace.engine.report.strips import Thumbnail, choose_shown, make_strip
from millrace.engine.run import Rerun
from millrace.engine.sources import RowReader, open_source
from support import barcode
from support.still_stretches import hold
from support.synthetic import write_dataset

MAP = "aloha_to_gr1_rescaled"
BROKEN = 1  # an episode of the first source


class Made:
    """A converted combination of two sources, one with a map of the user's own, and what was passed to on_finish."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        for name, lengths in (("first", (50, 50, 50)), ("second", (40,))):
            write_dataset(folder / name, lengths=lengths, fps=50, cameras=("top",))
        broken = next((folder / "first/videos").rglob(f"*{BROKEN:06}.mp4"))
        broken.write_bytes(b"no video")
        self.own_map = folder / "mine.yaml"
        self.own_map.write_text((MAPS / f"{MAP}.yaml").read_text().replace(f"name: {MAP}", "name: mine"))
        sources = [{"path": folder / "first", "map": MAP}, {"path": folder / "second", "map": str(self.own_map)}]
        self.recipe = Recipe.model_validate({"sources": sources, "image_size": 64, "crop": "center"})
        self.finished: list[tuple[ConversionPlan, Path, Path]] = []
        convert(self.recipe, self.out, workers=LOCAL, skip_bad=True, on_finish=lambda *one: self.finished.append(one))
        [(self.plan, _, _)] = self.finished

    def write(self) -> str:
        """The page, written again."""
        (self.out / REPORT).unlink(missing_ok=True)
        assert report_conversion(self.plan, self.out, self.out).why is None
        return (self.out / REPORT).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("combo"))


def stamp_of(image: Thumbnail) -> barcode.Stamp:
    content = b64decode(image.source.removeprefix("data:image/jpeg;base64,"))
    with av.open(io.BytesIO(content), format="mjpeg") as file:
        return barcode.read(next(file.decode(video=0)).to_ndarray(format="rgb24"))


def test_each_frame_stands_below_the_frame_of_the_source_that_it_was_made_of(made: Made) -> None:
    recordings = find_source_recordings(made.plan, made.out, range(3))
    places = [("first", 0), ("first", 2), ("second", 0)]  # the broken episode is left out, and the others move up
    assert [(one.source, one.episode.index) for one in recordings.values()] == places
    dataset = open_source(made.out)
    for episode in dataset.episodes:
        recording = recordings[episode.index]
        strip = make_strip(episode, "ego_view", fps=20, write=str, recording=recording)
        assert len(strip.moments) == 5
        for moment in strip.moments:
            before, after = map(stamp_of, moment.images)
            assert before == after
            assert f"frame {before.frame}, " in moment.images[0].caption
            assert before.frame == recording.frames[int(moment.images[1].caption.split("frame ")[1].split(",")[0])]


def test_curves_of_the_source_are_those_of_the_new_dataset_before_it_was_resampled(made: Made) -> None:
    dataset = open_source(made.out)
    recording = find_source_recordings(made.plan, made.out, [0])[0]
    vectors = recording.read_vectors()
    _, table = RowReader().read(dataset.episodes[0], [STATE, ACTION])
    for name, before in vectors.items():
        after = np.stack(table[name].to_numpy())
        assert len(before) == 50
        np.testing.assert_array_equal(before[recording.frames].astype(np.float32), after)
    columns = choose_columns(dataset.features, made.plan.target)
    groups = plot_groups(dataset, made.plan.target, columns)
    drawn = draw_episode(dataset.episodes[0], recording, groups=groups, columns=columns, fps=20, write=str)
    charts = [chart for group in drawn.groups for chart in group.charts]
    assert charts
    assert all(chart.state.count("L") == len(after) - 1 for chart in charts if chart.state)
    assert all(chart.state_before.count("L") == 49 for chart in charts if chart.state_before)
    assert drawn.seconds == 1.0


def test_a_map_of_ones_own_is_drawn_for_its_sources(made: Made) -> None:
    origins = read_origins(made.out, made.plan)
    assert origins is not None
    assert {(one.name, one.vectors, one.used_by) for one in origins.maps if one.vectors == "state"} == {
        (MAP, "state", ("first",)),
        ("mine", "state", ("second",)),
    }
    resting = {node.text: node.note for node in origins.maps[0].targets if node.is_idle and not node.is_heading}
    assert resting["left_wrist_pitch"] == "rests at 0"
    assert [drawing.name for drawing in (read_origins(made.out) or origins).maps] == [MAP, MAP]


def test_the_page_names_no_folder_of_this_machine(made: Made) -> None:
    page = made.write()
    assert "Images before and after" in page
    assert "episode 2 of first" in page
    assert str(made.folder) not in page


def test_a_folder_of_a_common_name_does_not_change_the_words_of_the_page(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("it")
    shutil.copytree(made.out, tmp_path / folder, ignore=shutil.ignore_patterns(REPORT))
    next((tmp_path / folder).rglob("*episode_000001.mp4")).unlink()
    monkeypatch.chdir(tmp_path)
    assert report_conversion(made.plan, folder, folder).why is None
    page = (folder / REPORT).read_text(encoding="utf-8")
    assert "gr1: it was converted to this robot (certain)" in page
    assert "no video at videos/" in page
    assert str(tmp_path) not in page


def test_a_source_that_is_gone_is_said(made: Made, tmp_path: Path) -> None:
    moved = made.folder / "second/videos"
    moved.rename(tmp_path / "videos")
    try:
        page = made.write()
    finally:
        (tmp_path / "videos").rename(moved)
    assert "video cannot be shown: " in page
    assert str(made.folder) not in page


def test_a_manifest_names_no_file_that_is_opened(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(made.out, out)
    text = (out / MANIFEST).read_text(encoding="utf-8")
    assert '"source": "second"' in text
    (out / MANIFEST).write_text(text.replace('"source": "second"', f'"source": "{made.folder}/second"'))
    assert sorted(find_source_recordings(made.plan, out, range(3))) == [0, 1]


def test_a_report_that_fails_is_said_and_harms_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    (made.out / REPORT).unlink(missing_ok=True)
    (made.out / REPORT).mkdir()
    try:
        assert str(made.out / REPORT) in str(report_conversion(made.plan, made.out, made.out).why)
    finally:
        (made.out / REPORT).rmdir()
    with monkeypatch.context() as patch:
        patch.setattr(conversion_report, "MAX_EPISODES", "many")  # as a bug would
        assert str(report_conversion(made.plan, made.out, made.out).why).startswith("internal error, ")
    assert not [path for path in made.out.iterdir() if REPORT in path.name]


def test_an_unfinished_dataset_has_no_report(made: Made) -> None:
    made.write()
    (made.folder / "first/videos").touch()
    rerun = Rerun(skip_bad=True, retry_skipped=True)
    convert(made.recipe, made.out, workers=LOCAL, skip_bad=rerun.skip_bad, retry_skipped=rerun.retry_skipped)
    assert (made.out / META).is_dir()
    assert not (made.out / REPORT).exists()


@pytest.fixture
def run(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Path, str]]:
    """Convert the second source by the command line; returns where to, and what was printed of it."""

    def convert_second(*flags: str, name: str = "out") -> tuple[Path, str]:
        words = ["convert", str(made.folder / "second"), str(tmp_path / name), "--map", MAP, "--image-size", "32"]
        assert cli.main([*words, *flags]) == 0
        return tmp_path / name, capsys.readouterr().err

    return convert_second


def test_every_conversion_writes_its_report_with_the_same_bytes(run: Callable[..., tuple[Path, str]]) -> None:
    one, printed = run("--local", name="one")
    assert f"report: {one / REPORT}" in printed
    two, _ = run("--executor", "local", "--workers", "2", name="two")
    page = (one / REPORT).read_bytes()
    assert b"Converted dataset" in page
    assert (two / REPORT).read_bytes() == page
    assert REPORT not in (one / MANIFEST).read_text(encoding="utf-8")
    assert cli.main(["validate", str(one)]) == 0


def test_the_same_command_again_writes_a_report_that_is_missing(run: Callable[..., tuple[Path, str]]) -> None:
    out, printed = run("--local", "--no-report")
    assert "report" not in printed
    assert not (out / REPORT).exists()
    run("--local")
    os.utime(out / REPORT, (1, 1))
    run("--local")
    assert (out / REPORT).stat().st_mtime == 1
    run("--local", "--overwrite", "--no-report")
    assert not (out / REPORT).exists()


def test_v3_alone_has_a_report_with_its_recordings(run: Callable[..., tuple[Path, str]]) -> None:
    out, _ = run("--local", "--layout", "v3.0")
    assert "episode 0 of second" in (out / REPORT).read_text(encoding="utf-8")


def test_frames_of_recordings_count_among_the_images(made: Made) -> None:
    episodes = list(open_source(made.folder / "first").episodes) * 20
    many = [len(choose_shown(episodes, (), num_cameras=4, has_recordings=has)) for has in (False, True)]
    assert many == [6, 3]


def test_episodes_that_could_not_be_converted_are_findings(made: Made) -> None:
    text = " ".join(made.write().split())
    assert "Episodes of the sources could not be converted: the dataset lacks them." in text
    assert f"first, episode {BROKEN}, camera top: " in text


def test_frames_that_were_cut_are_missing_on_the_time_axis(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", lengths=(90,), fps=20, cameras=("top",))
    hold(tmp_path / "data", [(0, 50)])
    recipe = Recipe.single(tmp_path / "data", map=MAP, image_size=64, crop="center", trim_idle={"keep": "0s"})
    found: list[tuple[ConversionPlan, Path, Path]] = []
    convert(recipe, tmp_path / "out", workers=LOCAL, on_finish=lambda *one: found.append(one))
    recording = find_source_recordings(found[0][0], tmp_path / "out", [0])[0]
    assert len(recording.frames) < 50
    assert str(recording) == f"episode 0 of data, without {recording.num_cut / 20:.1f} s that were cut"
    [episode] = open_source(tmp_path / "out").episodes
    assert episode.num_frames == len(recording.frames)
    for moment in make_strip(episode, "ego_view", fps=20, write=str, recording=recording).moments:
        before, after = map(stamp_of, moment.images)
        assert before == after
        assert before.frame >= recording.frames[0] > 0
