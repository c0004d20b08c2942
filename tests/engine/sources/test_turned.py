"""Pictures stand as players show them: turned by display matrices, and with pixels made square."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import IMAGE_SIZE, LOCAL, convert_here, recipe_for, video_path
from millrace.engine.convert import convert, plan_conversion
from millrace.engine.episode.frame_warnings import is_upright_square
from millrace.engine.errors import EpisodesFailed
from millrace.engine.inspection import inspect_dataset
from millrace.engine.sources import Clip
from millrace.engine.video.stream_facts import read_stream_facts
from support.synthetic import turn_video, write_dataset
from support.synthetic_video import read_video

LENGTH = 4
FPS = 50
Turn = tuple[int, int, int, int]
# Of each corner (x, y) of the stored picture, x to the right and y down: something that no other corner has.
CORNERS = {(-1, -1): (230, 30, 30), (1, -1): (30, 200, 30), (-1, 1): (30, 30, 230), (1, 1): (230, 230, 230)}
TURNS: dict[str, Turn] = {
    "upright": (1, 0, 0, 1),
    "clockwise": (0, 1, -1, 0),
    "half a turn": (-1, 0, 0, -1),
    "counterclockwise": (0, -1, 1, 0),
    "mirrored left to right": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transposed the other way": (0, -1, -1, 0),
}
# Turn, size as stored, width of a pixel by its height, and size as shown.
FILMS = [
    *((turn, (96, 64), Fraction(1), (96, 64) if turn[0] else (64, 96)) for turn in TURNS.values()),
    ((1, 0, 0, 1), (48, 64), Fraction(2), (96, 64)),
    ((1, 0, 0, 1), (96, 32), Fraction(1, 2), (48, 32)),
    ((0, 1, -1, 0), (48, 64), Fraction(2), (64, 96)),
]


def film(path: Path, turn: Turn, size: tuple[int, int], aspect: Fraction) -> None:
    """A video whose four corners differ."""
    width, height = size
    order = np.array([[CORNERS[x, y] for x in (-1, 1)] for y in (-1, 1)], np.uint8)
    image = np.ascontiguousarray(order.repeat(height // 2, axis=0).repeat(width // 2, axis=1))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(LENGTH):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    turn_video(path, turn)


def corners_of(image: NDArray[np.uint8], shown: tuple[int, int]) -> dict[tuple[int, int], tuple[int, int]]:
    """Which stored corner is seen at each corner of a padded picture."""
    middle, scale = IMAGE_SIZE / 2, IMAGE_SIZE / max(shown) / 2
    found = {}
    for x, y in CORNERS:
        row, column = int(middle + 0.8 * y * shown[1] * scale), int(middle + 0.8 * x * shown[0] * scale)
        found[x, y] = min(CORNERS, key=lambda corner: np.abs(image[row, column].astype(int) - CORNERS[corner]).sum())
    return found


def where_players_put(turn: Turn) -> dict[tuple[int, int], tuple[int, int]]:
    """ISO/IEC 14496-12: (x, y) is shown at (ax + cy, bx + dy)."""
    a, b, c, d = turn
    return {(a * x + c * y, b * x + d * y): (x, y) for x, y in CORNERS}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("turned") / "source"
    write_dataset(root, lengths=(LENGTH,) * len(FILMS))
    for episode, (turn, size, aspect, _) in enumerate(FILMS):
        film(video_path(root, episode), turn, size, aspect)
    return root


def test_each_corner_is_where_a_player_shows_it(source: Path, tmp_path: Path) -> None:
    summary = convert_here(source, tmp_path / "out", robot="aloha", crop="pad", fps="source", horizon=2)
    for episode, (turn, _, _, shown) in enumerate(FILMS):
        image = read_video(video_path(tmp_path / "out", episode))[-1]
        assert corners_of(image, shown) == where_players_put(turn), FILMS[episode]
        bar = (IMAGE_SIZE - round(IMAGE_SIZE * min(shown) / max(shown))) // 2 - 2
        bars = image[:bar] if shown[0] > shown[1] else image[:, :bar]
        assert bars.size > 0
        assert bars.max() < 10
    said = {one.code: (one.num_episodes, one.first_episode) for one in summary.warnings}
    assert said["turned-video"] == (8, 1)
    assert said["pixel-aspect"] == (3, 8)
    assert said["still-video"] == (len(FILMS), 0)


def test_a_crop_is_noted_of_the_picture_as_it_is_shown(tmp_path: Path) -> None:
    """And a size that info.json has wrong, as inspect warns of it."""
    source = tmp_path / "source"
    write_dataset(source, lengths=(LENGTH,))
    film(video_path(source, 0), TURNS["clockwise"], (128, 64), Fraction(1))
    recipe = recipe_for(source, robot="aloha", fps="source", horizon=2)
    assert any("drops 32 px at top and bottom of 64x128" in note for note in plan_conversion(recipe).notes)
    (warned,) = (one for one in convert(recipe, tmp_path / "out", workers=LOCAL).warnings if one.code == "video-size")
    (finding,) = (one for one in inspect_dataset(source).findings if one.code == "video-size")
    assert warned.message == finding.message == "frames of 128x64, but info.json says 96x64"


def test_what_needs_more_than_a_crop_is_left_to_the_cpu(source: Path) -> None:
    for episode, (turn, _, aspect, _) in enumerate(FILMS):
        clip = Clip(video_path(source, episode), LENGTH, Fraction(FPS))
        assert is_upright_square(clip, read_stream_facts(clip)) == (turn == TURNS["upright"] and aspect == 1)


def test_an_angle_that_is_no_quarter_turn_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_dataset(source, lengths=(LENGTH,))
    film(video_path(source, 0), (1, 1, -1, 1), (96, 64), Fraction(1))
    with pytest.raises(EpisodesFailed, match=r"camera top: the frames are to be turned by .* expected quarter turns"):
        convert_here(source, tmp_path / "out", robot="aloha", fps="source", horizon=2)
