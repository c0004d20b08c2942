"""Which cameras the output has, as flags and recipes say; and what is no camera at all."""

from pathlib import Path
from typing import Any

import pytest

from conftest import recipe_for
from millrace import cli
from millrace.commands.flags import show
from millrace.embodiments.errors import MillraceError
from millrace.engine.convert import plan_conversion
from millrace.engine.inspection import inspect_dataset
from millrace.engine.planning.recipe import Recipe
from millrace.engine.sources.image_columns import image_content
from support.g1_sources import COLUMNS
from support.synthetic import edit_json, write_dataset

HWC = ("height", "width", "channels")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cameras") / "source"
    write_dataset(root, lengths=(6,), cameras=("top", "left", "right"))
    return root


def cameras(source: Path, **settings: Any) -> tuple[str, ...]:
    return plan_conversion(recipe_for(source, robot="aloha", horizon=2, **settings)).cameras


def test_cameras_are_kept_in_the_order_asked_for_or_left_out(source: Path) -> None:
    assert cameras(source) == ("top", "left", "right")
    assert cameras(source, only_cameras=("right", "top")) == ("right", "top")
    assert cameras(source, without_cameras=("left",)) == ("top", "right")
    with pytest.raises(MillraceError, match=r"'lef' is not a camera that could be left out. Did you mean 'left'"):
        cameras(source, without_cameras=("lef",))


def test_cameras_that_are_left_out_are_said_before_work_begins(source: Path) -> None:
    def said(**settings: Any) -> list[str]:
        plan = plan_conversion(recipe_for(source, horizon=2, **settings))
        return [note.partition(": ")[2] for note in plan.notes if "of its cameras" in note]

    assert said() == [
        "of its cameras 'top' as 'ego_view' is converted, 'left', 'right' left out; 'gr1' has no other camera"
    ]
    assert said(cameras={"ego_view": "left"})[0].startswith("of its cameras 'left' as 'ego_view' is converted, 'top', ")
    for chosen in ({"robot": "aloha"}, {"only_cameras": ("ego_view",)}, {"without_cameras": ("left", "right")}):
        assert said(**chosen) == []


def test_a_camera_that_the_robot_has_too_is_advised(tmp_path: Path) -> None:
    options: dict[str, Any] = {"names": "nested", "parts": COLUMNS["g1_gripper"], "robot_type": None}
    views = ("cam_left_high", "cam_left_wrist", "cam_right_wrist")
    write_dataset(tmp_path / "g1", lengths=(50,), fps=30, cameras=views, **options)
    recipe = recipe_for(tmp_path / "g1", map="g1_gripper_to_inspire")
    (note,) = (note for note in plan_conversion(recipe).notes if "of its cameras" in note)
    assert show(note).endswith(
        "'cam_left_wrist', 'cam_right_wrist' left out; to keep more, pass --camera cam_left_wrist=cam_left_wrist "
        "--camera cam_right_wrist=cam_right_wrist"
    )
    more = {camera: camera for camera in views[1:]}
    assert plan_conversion(recipe_for(tmp_path / "g1", map="g1_gripper_to_inspire", cameras=more)).cameras == views


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (["--camera", "-left"], {"top", "right"}),
        (["--camera", "side=left", "-top"], {"side", "right"}),
        (["--camera", "-top", "--cameras", "right"], {"right"}),
        (["--cameras", "right,top"], {"right", "top"}),
    ],
)
def test_flags_say_the_same(source: Path, flags: list[str], kept: set[str]) -> None:
    command = cli._parse(["convert", str(source), "out", "--robot", "aloha", "--horizon", "2", *flags])
    assert set(plan_conversion(command._recipe()).cameras) == kept


def test_a_recipe_says_so_too(source: Path) -> None:
    recipe = Recipe.model_validate(
        {"sources": [{"path": source}], "robot": "aloha", "horizon": 2, "without_cameras": ["top"]}
    )
    assert plan_conversion(recipe).cameras == ("left", "right")


def test_two_features_of_one_camera_are_found_and_can_be_left_out(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(6,), cameras=("top", "left"))

    def add(info: dict[str, Any]) -> None:
        info["features"]["top"] = info["features"]["observation.images.top"]

    edit_json(tmp_path / "source/meta/info.json", add)
    told = "'observation.images.top' and 'top' are both camera 'top'"
    with pytest.raises(MillraceError, match=rf"{told}.*without_cameras=.'top'"):
        cameras(tmp_path / "source")
    assert cameras(tmp_path / "source", without_cameras=("top",)) == ("left",)
    findings = [one for one in inspect_dataset(tmp_path / "source").findings if one.code == "bad-metadata"]
    assert [(one.severity, one.camera) for one in findings] == [("error", "top")]
    assert told in findings[0].message


@pytest.mark.parametrize(
    ("key", "shape", "names", "facts", "content"),
    [
        ("observation.images.top", (480, 640, 3), HWC, {}, None),
        ("observation.images.top", (480, 640, 3), HWC, {"is_depth_map": False, "pix_fmt": "yuv420p"}, None),
        ("observation.images.top", (480, 640, 3), HWC, {"is_depth_map": True}, "depth"),
        ("observation.images.top", (480, 640, 3), HWC, {"is_depth_map": 1.0}, "depth"),
        ("observation.images.top", (480, 640, 3), HWC, {"is_depth_map": 0.0}, None),
        ("observation.images.top", (480, 640, 1), HWC, {"pix_fmt": "gray16le"}, "depth"),
        ("observation.images.top", (480, 640, 1), HWC, {"pix_fmt": "gray12le"}, "depth"),
        ("observation.images.top", (480, 640, 1), HWC, {"pix_fmt": "gray"}, None),
        ("observation.images.infrared", (480, 640), None, {}, None),
        ("observation.images.top_depth", (480, 640, 1), HWC, {}, "depth"),
        ("observation.images.top_depth", (1, 480, 640), ("channels", "height", "width"), {}, "depth"),
        ("observation.depth.top", (480, 640), None, {}, "depth"),
        ("observation.images.top_seg", (480, 640, 1), HWC, {}, "segmentation"),
        ("observation.images.mask", (480, 640), None, {}, "segmentation"),
        ("observation.images.seg_instance_id.head", (720, 720, 3), ("height", "width", "rgb"), {}, "segmentation"),
        # Colours that were made of depth are pictures as any others, and so is what only begins likewise.
        ("observation.images.depth_colored", (480, 640, 3), HWC, {}, None),
        ("observation.images.segment", (480, 640, 1), HWC, {}, None),
    ],
)
def test_depth_and_masks_are_no_cameras(
    key: str, shape: tuple[int, ...], names: tuple[str, ...] | None, facts: dict[str, object], content: str | None
) -> None:
    assert image_content(key, shape, names, facts) == content


@pytest.mark.parametrize("field", ["info", "video_info"])
@pytest.mark.parametrize("name", ["is_depth_map", "video.is_depth_map"])
def test_info_json_may_say_depth_in_two_places(tmp_path: Path, field: str, name: str) -> None:
    write_dataset(tmp_path / "source", lengths=(6,), cameras=("top", "left"))

    def mark(info: dict[str, Any]) -> None:
        feature = info["features"]["observation.images.left"]
        feature.pop("info", None)
        feature[field] = {name: True}

    edit_json(tmp_path / "source/meta/info.json", mark)
    assert cameras(tmp_path / "source") == ("top",)
