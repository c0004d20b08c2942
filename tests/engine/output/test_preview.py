"""The strip of frames that the card shows: these frames, few bytes, and never a reason to fail."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import LENGTHS, convert_here, recipe_for
from millrace.engine.convert import plan_conversion
from millrace.engine.layout import PREVIEW
from millrace.engine.output.preview import IMAGE_HEIGHT, MAX_BYTES, compress_sheet, make_preview
from millrace.engine.packing import pack_dataset
from millrace.engine.planning.resample import frame_indices
from millrace.engine.validate import validate
from millrace.engine.video.contact_sheet import BLOCK_GAP, GAP, MARGIN, UNREADABLE
from support.barcode import read
from support.synthetic import write_dataset


def decode(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        image: NDArray[np.uint8] = next(container.decode(video=0)).to_ndarray(format="rgb24")
        return image


def cells(sheet: NDArray[np.uint8], num_episodes: int, num_images: int = 3) -> list[NDArray[np.uint8]]:
    """The square images of a sheet of one camera, from left to right."""
    lefts = [
        MARGIN + (IMAGE_HEIGHT + GAP) * (episode * num_images + image) + (BLOCK_GAP - GAP) * episode
        for episode in range(num_episodes)
        for image in range(num_images)
    ]
    return [sheet[MARGIN : MARGIN + IMAGE_HEIGHT, left : left + IMAGE_HEIGHT] for left in lefts]


def test_it_shows_the_first_middle_and_last_frame_of_each_episode(aloha_gr1: Path) -> None:
    stamps = [read(cell) for cell in cells(decode(aloha_gr1 / PREVIEW), len(LENGTHS))]
    due = []
    for episode, length in enumerate(LENGTHS):
        frames = frame_indices(length, source_fps=Fraction(50), target_fps=Fraction(20))
        places = np.linspace(0, len(frames) - 1, 3).round().astype(int)
        due += [(episode, int(frames[place])) for place in places]
    assert [(stamp.episode, stamp.frame) for stamp in stamps] == due


def test_it_is_small_listed_and_on_the_card(aloha_gr1: Path) -> None:
    files = {file["path"]: file for file in json.loads((aloha_gr1 / "millrace.json").read_text())["files"]}
    assert files[PREVIEW]["num_bytes"] == (aloha_gr1 / PREVIEW).stat().st_size < MAX_BYTES
    assert f"]({PREVIEW})\n" in (aloha_gr1 / "README.md").read_text()


def test_noise_is_made_small_enough() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (640, 3600, 3), dtype=np.uint8)
    assert 0 < len(compress_sheet(noise)) <= MAX_BYTES


def test_frames_that_cannot_be_read_fail_nothing(aloha: Path, aloha_gr1: Path, tmp_path: Path) -> None:
    shutil.copytree(aloha_gr1 / "videos", tmp_path / "videos")
    first, second, _ = sorted(tmp_path.rglob("*.mp4"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:2000])
    content = make_preview(plan_conversion(recipe_for(aloha)), tmp_path)
    assert content is not None
    (tmp_path / PREVIEW).write_bytes(content)
    sheet = decode(tmp_path / PREVIEW)
    is_red = np.abs(sheet.astype(int) - UNREADABLE).max(axis=2) < 8
    middle = sheet.shape[0] // 2
    assert is_red[middle].sum() >= 6 * IMAGE_HEIGHT  # of six images, and none of the third episode
    assert not is_red[middle, -MARGIN - 3 * IMAGE_HEIGHT :].any()


def test_a_dataset_without_cameras_has_none(tmp_path: Path) -> None:
    write_dataset(tmp_path / "source", lengths=(9,), cameras=())
    convert_here(tmp_path / "source", tmp_path / "out", robot="aloha", horizon=2)
    assert not (tmp_path / "out" / PREVIEW).exists()
    assert PREVIEW not in (tmp_path / "out/README.md").read_text()


def test_validation_only_warns_where_it_is_gone(aloha_gr1: Path, tmp_path: Path) -> None:
    root = shutil.copytree(aloha_gr1, tmp_path / "copy")
    (root / PREVIEW).unlink()
    report = validate(root)
    assert report.is_valid
    assert [str(found.path) for found in report.warnings if found.code == "digests-text"] == [PREVIEW]


@pytest.fixture(scope="module")
def packed(aloha_gr1: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "out"
    pack_dataset(aloha_gr1, out)
    return out


def test_v3_has_the_same(aloha_gr1: Path, packed: Path) -> None:
    assert (packed / PREVIEW).read_bytes() == (aloha_gr1 / PREVIEW).read_bytes()
    assert PREVIEW in {file["path"] for file in json.loads((packed / "millrace.json").read_text())["files"]}
    assert f"]({PREVIEW})\n" in (packed / "README.md").read_text()
    assert validate(packed).is_valid
