"""Frames that are not square: what each camera's size becomes, and that metadata, card and clips say and hold it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conftest import LOCAL, convert_here, files_of, read_meta, recipe_for, video_path
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.errors import EpisodesFailed, OtherRecipe, RecipeError
from millrace.engine.packing.layouts import Layouts
from millrace.engine.planning.recipe import Recipe, check_recipe
from millrace.engine.validate import validate
from millrace.engine.video.probe import probe_video
from support.barcode import Stamp, read
from support.synthetic import SyntheticVideo, edit_json, read_video, write_dataset, write_video

LENGTHS = (13, 9)
FPS = 50
SIZES = {"top": (96, 64), "wrist": (64, 96)}  # width and height


def write_cameras(root: Path, sizes: Mapping[str, tuple[int, int]] = SIZES) -> Path:
    """A dataset whose cameras differ in size."""
    write_dataset(root, lengths=LENGTHS, cameras=tuple(sizes))
    for number, (camera, (width, height)) in enumerate(sizes.items()):
        video = SyntheticVideo("libx264", gop=10, height=height, width=width)
        for episode, length in enumerate(LENGTHS):
            path = video_path(root, episode, camera)
            write_video(path, num_frames=length, fps=FPS, episode=episode, camera=number, video=video)
        set_size(root, camera, width, height)
    return root


def set_size(root: Path, camera: str, width: int, height: int) -> None:
    def change(info: Any) -> None:
        info["features"][f"observation.images.{camera}"]["shape"] = [height, width, 3]

    edit_json(root / "meta/info.json", change)


def shapes(root: Path) -> dict[str, list[int]]:
    """Width and height of each camera in info.json, which says the same twice."""
    features = read_meta(root, "info.json")["features"]
    found = {}
    for name, feature in features.items():
        if feature["dtype"] == "video":
            height, width, _ = feature["shape"]
            assert (feature["info"]["video.width"], feature["info"]["video.height"]) == (width, height)
            found[name.rpartition(".")[2]] = [width, height]
    return found


def sizes_of(root: Path) -> dict[str, list[int]]:
    """Likewise of the clips."""
    facts = {camera: probe_video(video_path(root, 1, camera)) for camera in SIZES}
    return {camera: [fact.width, fact.height] for camera, fact in facts.items()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wide camera and a tall one."""
    return write_cameras(tmp_path_factory.mktemp("source") / "rig")


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both cameras whole, 48 pixels on the longer side, in both layouts."""
    out = tmp_path_factory.mktemp("whole") / "whole"
    recipe = recipe_for(source, robot="same", image_size=48, crop="none", fps="source", horizon=4)
    convert(recipe, out, workers=LOCAL, layouts=Layouts(("v2.1", "v3.0")))
    return out


def test_whole_frames_keep_their_aspect_in_each_camera(whole: Path) -> None:
    assert shapes(whole) == sizes_of(whole) == {"top": [48, 32], "wrist": [32, 48]}
    report = validate(whole, deep=True)
    assert {problem.code for problem in report.problems} == {"camera-aspects"}


def test_v3_says_the_same_sizes(whole: Path) -> None:
    packed = whole.with_name("whole_v30")
    assert shapes(packed) == shapes(whole)
    facts = {camera: probe_video(next(packed.rglob(f"*{camera}/**/*.mp4"))) for camera in SIZES}
    assert {camera: [fact.width, fact.height] for camera, fact in facts.items()} == shapes(whole)


def test_card_and_notes_say_the_sizes(source: Path, whole: Path) -> None:
    card = (whole / "README.md").read_text()
    assert "| cameras | `observation.images.top` 48x32, `observation.images.wrist` 32x48, H.264 |" in card
    assert "all of each, without bars (`crop: none`)" in card
    plan = plan_conversion(recipe_for(source, robot="same", image_size=48, crop="none", horizon=4))
    (note,) = [note for note in plan.notes if "differ in aspect" in note]
    assert "(top 48x32, wrist 32x48): GR00T N1.7 cannot train on them where it keeps the aspect" in note
    assert [str(framing) for framing in plan.framings] == [
        "trained on 48x32, whole frames of 96x64; send whole frames",
        "trained on 32x48, whole frames of 64x96; send whole frames",
    ]


def test_an_aspect_that_is_rounded_is_said(tmp_path: Path) -> None:
    root = write_cameras(tmp_path / "rig", {"top": (106, 60)})
    notes = plan_conversion(recipe_for(root, robot="aloha", image_size=48, crop="none", horizon=4)).notes
    told = f"{root}, camera 'top': frames of 106x60 become 48x28, the nearest even size of their aspect"
    assert told in notes


def test_what_needs_no_other_pixels_is_copied(whole: Path, tmp_path: Path) -> None:
    own = {"robot": "same", "fps": "source", "horizon": 4, "crop": None}
    kept = convert_here(whole, tmp_path / "kept", image_size="source", **own)
    assert (kept.num_clips, kept.num_copied_clips) == (4, 4)
    assert shapes(tmp_path / "kept") == shapes(whole)
    assert video_path(tmp_path / "kept", 1, "wrist").read_bytes() == video_path(whole, 1, "wrist").read_bytes()
    assert (tmp_path / "kept/meta/stats.json").read_bytes() == (whole / "meta/stats.json").read_bytes()


def test_own_sizes_are_kept(source: Path, tmp_path: Path) -> None:
    convert_here(source, tmp_path / "out", robot="aloha", image_size="source", crop=None, horizon=4)
    assert shapes(tmp_path / "out") == sizes_of(tmp_path / "out") == {"top": [96, 64], "wrist": [64, 96]}
    stamps = [read(image) for image in read_video(video_path(tmp_path / "out", 0, "wrist"))]
    assert stamps == [Stamp(frame, 0, 1) for frame in (0, 2, 5, 8, 10)]


@pytest.mark.parametrize("crop", ["center", "pad"])
def test_width_by_height_is_one_size_for_all_cameras(source: Path, tmp_path: Path, crop: str) -> None:
    out = tmp_path / "out"
    convert_here(source, out, robot="aloha", image_size="96x54", crop=crop, episodes="1", horizon=2)
    assert shapes(out) == {"top": [96, 54], "wrist": [96, 54]}
    assert {(fact.width, fact.height) for fact in map(probe_video, out.rglob("*.mp4"))} == {(96, 54)}
    if crop == "pad":
        images = read_video(next(out.rglob("*top/*.mp4")))
        assert [read(image, crop="pad", source_size=(64, 96)).frame for image in images] == [0, 2, 5, 8]
    assert validate(out).is_valid


def test_a_dataset_of_another_size_is_another(source: Path, tmp_path: Path) -> None:
    settings = {"robot": "aloha", "horizon": 4}
    convert_here(source, tmp_path / "out", image_size="96x54", **settings)
    with pytest.raises(OtherRecipe, match=r"Changed: image_size: 96x54 -> 96x64"):
        convert_here(source, tmp_path / "out", image_size="96x64", **settings)
    assert convert_here(source, tmp_path / "out", image_size="96x54", **settings).was_finished


def test_sources_that_changed_their_size_meanwhile_are_another_dataset(source: Path, tmp_path: Path) -> None:
    settings = {"robot": "aloha", "horizon": 4, "image_size": "source", "crop": None, "episodes": "1"}
    shutil.copytree(source, tmp_path / "rig")
    convert_here(tmp_path / "rig", tmp_path / "out", **settings)
    write_cameras(tmp_path / "rig", {"top": (96, 64), "wrist": (64, 64)})
    with pytest.raises(
        OtherRecipe, match=r"sizes of the cameras' frames: top=96x64, wrist=64x96 -> top=96x64, wrist=64x64"
    ):
        convert_here(tmp_path / "rig", tmp_path / "out", **settings)


def test_held_out_and_resumed_runs_write_the_same_bytes(source: Path, tmp_path: Path) -> None:
    recipe = recipe_for(source, robot="aloha", image_size="96x54", crop="pad", horizon=4)
    convert(recipe, tmp_path / "one", workers=LOCAL)
    convert(recipe, tmp_path / "two", workers=LOCAL)
    shutil.rmtree(tmp_path / "two/meta")
    video_path(tmp_path / "two", 1, "wrist").unlink()
    convert(recipe, tmp_path / "two", workers=LOCAL)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def combine(*sources: Path, **settings: Any) -> Recipe:
    return check_recipe({"sources": [{"path": path} for path in sources], "robot": "aloha", "horizon": 4, **settings})


def test_sources_of_one_aspect_become_one_size(source: Path, tmp_path: Path) -> None:
    larger = write_cameras(tmp_path / "larger", {"top": (144, 96), "wrist": (96, 144)})
    plan = plan_conversion(combine(source, larger, image_size=48, crop="none"))
    assert {camera: str(size) for camera, size in plan.job.sizes.items()} == {"top": "48x32", "wrist": "32x48"}


def test_sources_of_several_sizes_are_refused_by_camera(source: Path, tmp_path: Path) -> None:
    other = write_cameras(tmp_path / "other", {"top": (96, 64), "wrist": (64, 64)})
    told = (
        rf"whole frames of camera 'wrist' have several sizes: 32x48 in {source}, 48x48 in {other}. "
        r"Make them one size: image_size='32x48' and crop='pad' \(or center\)"
    )
    with pytest.raises(RecipeError, match=told) as caught:
        plan_conversion(combine(source, other, image_size=48, crop="none"))
    assert caught.value.facts.camera == "wrist"
    assert plan_conversion(combine(source, other, image_size="32x48", crop="pad")).job.sizes["wrist"] == (32, 48)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"image_size": "96x54", "crop": "none"},
            "camera 'top': frames of 96x64 have another aspect than 96x54, and crop='none' keeps them whole. "
            "image_size=96 makes them 96x64; or pass crop='pad' or center",
        ),
        ({"image_size": 16, "crop": "none"}, "camera 'top': frames of 96x64 become 16x10, and no side may be below 16"),
    ],
)
def test_sizes_that_whole_frames_cannot_have_are_refused(source: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_conversion(recipe_for(source, robot="aloha", **settings))
    assert told in str(caught.value)


def test_own_sizes_that_are_odd_name_the_nearest_even_ones(tmp_path: Path) -> None:
    video = SyntheticVideo("libx264", gop=10, pix_fmt="yuv444p", height=65, width=97)
    write_dataset(tmp_path / "odd", lengths=(9,), video=video)
    settings = {"robot": "aloha", "crop": None, "horizon": 2}
    told = "camera 'top': frames of 97x65 cannot be kept as they are, .*the nearest are 96x64 or 98x66"
    with pytest.raises(RecipeError, match=told):
        plan_conversion(recipe_for(tmp_path / "odd", image_size="source", **settings))
    convert_here(tmp_path / "odd", tmp_path / "out", image_size="96x64", **{**settings, "crop": "none"})
    assert shapes(tmp_path / "out") == {"top": [96, 64]}


def test_an_episode_of_another_aspect_fails_by_name(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "rig")
    video = SyntheticVideo("libx264", gop=10, height=64, width=64)
    write_video(
        video_path(tmp_path / "rig", 1, "wrist"), num_frames=LENGTHS[1], fps=FPS, episode=1, camera=1, video=video
    )
    with pytest.raises(EpisodesFailed) as caught:
        convert_here(tmp_path / "rig", tmp_path / "out", robot="aloha", image_size="source", crop=None, horizon=2)
    (line,) = caught.value.problems
    assert "episode 1" in str(line)
    assert "frames of 64x64 cannot be shown whole in 64x96, the size of this camera's other frames" in str(line)


def test_images_without_a_size_in_their_metadata_are_looked_at(tmp_path: Path) -> None:
    video = SyntheticVideo(height=64, width=96)
    write_dataset(tmp_path / "frames", version="frames", lengths=(9,), video=video)
    convert_here(tmp_path / "frames", tmp_path / "out", robot="aloha", image_size=48, crop="none", horizon=2)
    assert shapes(tmp_path / "out") == {"top": [48, 32]}
