"""How pictures become square: what decides it, what is said of it, and what a checkpoint still knows of it."""

from pathlib import Path

import pytest

from conftest import IMAGE_SIZE, convert_here
from millrace.engine.convert import plan_conversion
from millrace.engine.output.card import dataset_card
from millrace.engine.planning.recipe import Recipe
from millrace.engine.video.frame_size import FrameSize
from millrace.engine.video.framing import Framing, manifest_framings
from millrace.train.framings import FRAMES, NOTES, read_framings, write_framings
from millrace.train.serve import ServeSettings
from support.demonstrator import write_checkpoint

CENTER = Framing(crop="center", width=96, height=64, image_size=IMAGE_SIZE)


@pytest.mark.parametrize(
    ("settings", "crop"),
    [
        ({"robot": "aloha"}, "pad"),
        ({"map": "aloha_to_gr1_rescaled"}, "pad"),
        ({"map": "aloha_to_gr1"}, "center"),
        ({"map": "aloha_to_gr1", "crop": "pad"}, "pad"),
        ({"robot": "aloha", "crop": "center"}, "center"),
    ],
)
def test_all_of_a_picture_is_kept_unless_recipe_or_map_crop(aloha: Path, settings: dict[str, str], crop: str) -> None:
    plan = plan_conversion(Recipe.single(aloha, **settings))
    assert plan.job.crop == plan.recipe.crop == crop
    said = [note for note in plan.notes if "center crop drops" in note]
    dropped = f"{aloha}, camera 'top': center crop drops 16 px left and right of 96x64; GR00T pads live frames"
    assert [note[: len(dropped)] for note in said] == ([dropped] if crop == "center" else [])
    assert f"(`crop: {crop}`)" in dataset_card(plan)


def test_maps_that_disagree_leave_all_of_a_picture(aloha: Path) -> None:
    sources = [{"path": aloha, "map": name} for name in ("aloha_to_gr1", "aloha_to_gr1_rescaled")]
    assert plan_conversion(Recipe.model_validate({"sources": sources})).job.crop == "pad"


def test_the_manifest_tells_how_pictures_became_square(aloha_gr1: Path, tmp_path: Path) -> None:
    assert manifest_framings(aloha_gr1) == (CENTER,)
    convert_here(aloha_gr1, tmp_path / "again", robot="gr1", crop="pad", image_size=32)
    assert manifest_framings(tmp_path / "again") == (CENTER.model_copy(update={"image_size": 32}),)
    (tmp_path / "again/millrace.json").write_text("{")
    assert manifest_framings(tmp_path / "again") == manifest_framings(tmp_path) == ()


def test_a_server_says_how_live_frames_must_look(aloha_gr1: Path, tmp_path: Path) -> None:
    settings = ServeSettings(checkpoint=str(write_checkpoint(tmp_path / "c")))
    assert settings.frame_lines() == ()
    write_framings(tmp_path / "c" / NOTES, (aloha_gr1, aloha_gr1, tmp_path))
    assert settings.frame_lines() == (
        "frames: trained on 64x64, cropped to the centre square of 96x64; crop live frames alike",
    )
    (tmp_path / "c" / NOTES / FRAMES).write_text('{"frames": [{"crop": "no"}]}')
    assert read_framings(str(tmp_path / "c")) == read_framings("/no/such/place") == ()


def test_frames_that_were_not_cropped_are_to_be_sent_whole() -> None:
    padded = Framing(crop="pad", width=640, height=480, image_size=256)
    assert str(padded) == "trained on 256x256, padded from 640x480; send whole frames"
    assert str(padded.model_copy(update={"height": 640})).endswith("whole frames of 640x640; send whole frames")


WIDE, TALL = FrameSize(320, 180), FrameSize(640, 480)


def test_frames_that_are_not_square_say_what_live_frames_need() -> None:
    told = {crop: str(Framing.of(TALL, WIDE, crop)) for crop in ("center", "pad")}
    assert told == {
        "center": "trained on 320x180, cropped to the centre of 640x480, of this aspect; crop live frames alike",
        "pad": "trained on 320x180, padded from 640x480; pad live frames alike",
    }
    whole = Framing.of(TALL, FrameSize(256, 192), "none")
    assert str(whole) == "trained on 256x192, whole frames of 640x480; send whole frames"


def test_two_conversions_are_told_as_one_unless_both_cut_or_pad() -> None:
    whole, cropped = Framing.of(TALL, FrameSize(256, 192), "none"), Framing.of(TALL, WIDE, "center")
    assert whole.follow(Framing.of(FrameSize(256, 192), WIDE, "pad")) == Framing.of(TALL, WIDE, "pad")
    assert cropped.follow(Framing.of(WIDE, FrameSize(160, 90), "none")) == Framing.of(
        TALL, FrameSize(160, 90), "center"
    )
    twice = cropped.follow(Framing.of(WIDE, FrameSize.square(256), "pad"))
    assert str(twice) == (
        "trained on 256x256, padded from 320x180 (which were 320x180, cropped to the centre of 640x480, of this "
        "aspect); make live frames alike"
    )
