"""Still stretches are cut by an episode's rows alone; its rows and frames stay one."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from conftest import data_path, matrix, read_table, recipe_for, video_path
from millrace.engine.convert import plan_conversion
from millrace.engine.dataset.record import EpisodeFailure
from millrace.engine.dataset.stillness import still_from, still_stretches, still_until
from millrace.engine.episode.convert_episode import convert_episode
from millrace.engine.episode.cut_frames import cut_episode, find_cuts
from millrace.engine.errors import EpisodeDataError
from millrace.engine.planning.cut_rules import CutRules
from millrace.engine.planning.frame_choice import choose_frames
from millrace.engine.planning.quality import DropPauses, TrimIdle
from support.barcode import Stamp
from support.still_stretches import Stretch, held, with_vectors
from support.synthetic import (
    SyntheticVideo,
    expected_action,
    expected_state,
    read_stamps,
    rewrite_parquet,
    write_dataset,
)

NUM_FRAMES, FPS = 60, 20
ROBOT = "aloha"
VIDEO = SyntheticVideo(codec="libx264", gop=10)


def rules_of(source: Path, **chosen: Any) -> CutRules:
    rules = plan_conversion(recipe_for(source, robot=ROBOT, horizon=1, **chosen)).job.bindings[0].cuts
    assert rules is not None
    return rules


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One episode whose robot moves in every frame; tests hold its rows."""
    root = tmp_path_factory.mktemp("still") / "aloha"
    write_dataset(root, lengths=(NUM_FRAMES,), fps=FPS, video=VIDEO)
    return root


def paths(num_joints: int = 3) -> st.SearchStrategy[NDArray[np.float64]]:
    """Positions in widths of bands that stand, creep and move in turn, (T, D)."""
    step = st.sampled_from([0.0, 0.0, 0.02, 0.3, 5.0])
    parts = st.lists(
        st.tuples(st.integers(1, 40), st.lists(step, min_size=num_joints, max_size=num_joints)), min_size=1
    )
    return parts.map(
        lambda found: np.cumsum(np.concatenate([np.tile(steps, (length, 1)) for length, steps in found]), axis=0)
    )


def is_still(positions: NDArray[np.float64]) -> bool:
    return bool(np.all(np.ptp(positions, axis=0) <= 1))


@given(paths(), st.integers(1, 30))
def test_no_joint_leaves_its_band_within_a_still_stretch_and_none_is_missed(
    positions: NDArray[np.float64], min_frames: int
) -> None:
    found = still_stretches(positions, min_frames=min_frames).tolist()
    end = 0
    for start, stop in found:
        assert stop - start >= min_frames
        assert start >= end
        assert is_still(positions[start:stop])
        assert stop == len(positions) or not is_still(positions[start : stop + 1])
        end = stop
    is_covered = np.zeros(len(positions), dtype=np.bool_)
    for start, stop in found:
        is_covered[start:stop] = True
    for start in range(len(positions) - min_frames + 1):
        if is_still(positions[start : start + min_frames]):
            assert is_covered[start : start + min_frames].any()


@given(paths())
def test_still_ends_reach_as_far_as_no_joint_leaves_its_band(positions: NDArray[np.float64]) -> None:
    stop, start = still_until(positions), still_from(positions)
    assert is_still(positions[:stop])
    assert stop == len(positions) or not is_still(positions[: stop + 1])
    assert is_still(positions[start:])
    assert start == 0 or not is_still(positions[start - 1 :])


@given(
    paths(),
    st.builds(TrimIdle, lead=st.just(True), tail=st.booleans(), keep=st.sampled_from(["0s", "0.2s", "1s"])) | st.none(),
    st.builds(DropPauses, longer_than=st.sampled_from(["0.5s", "1s"]), keep=st.sampled_from(["0s", "0.2s"]))
    | st.none(),
)
def test_only_still_frames_are_cut_and_what_should_stay_of_them_stays(
    source: Path, positions: NDArray[np.float64], trim: TrimIdle | None, pauses: DropPauses | None
) -> None:
    known = rules_of(source, trim_idle=True)
    rules, fps = CutRules(trim, pauses, known.bands, known.used), Fraction(FPS)
    try:
        cuts = find_cuts(positions, rules, fps)
    except EpisodeDataError:
        assert still_until(positions) == len(positions) or still_from(positions) <= still_until(positions)
        return
    end = 0
    for cut in cuts:
        assert end <= cut.start < cut.stop <= len(positions)
        end = cut.stop
        kept = trim.keep if cut.why != "pause" and trim is not None else Fraction(0)
        margin = round(kept * fps)
        before, after = (margin, 0) if cut.why == "end" else (0, margin)
        assert is_still(positions[max(cut.start - before, 0) : cut.stop + after])
    assert sum(cut.num_frames for cut in cuts) < len(positions)
    assert pauses is not None or all(cut.why != "pause" for cut in cuts)
    assert trim is not None or all(cut.why == "pause" for cut in cuts)


stretches = st.lists(
    st.tuples(st.integers(0, NUM_FRAMES - 1), st.integers(2, NUM_FRAMES)).map(
        lambda pair: (pair[0], min(pair[0] + pair[1], NUM_FRAMES))
    ),
    max_size=4,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stretches,
    st.sampled_from(["source", 10, 15]),
    st.sampled_from(["nearest", "linspace"]),
    st.sampled_from([0.1, 0.5]),
)
def test_rows_and_frames_stay_one_whatever_is_cut(
    source: Path, tmp_path_factory: pytest.TempPathFactory, told: list[Stretch], fps: Any, resample: Any, pause: float
) -> None:
    out = tmp_path_factory.mktemp("out")
    frames = np.arange(NUM_FRAMES)
    state, action = held(expected_state(0, frames), told), held(expected_action(0, frames), told)
    rewrite_parquet(data_path(source, 0), lambda table: with_vectors(table, state, action))
    wanted = {"trim_idle": {"keep": "0.1s"}, "drop_pauses": {"longer_than": pause, "keep": 0.05}}
    plan = plan_conversion(recipe_for(source, robot=ROBOT, horizon=1, fps=fps, resample=resample, **wanted))
    (out / "scratch").mkdir()
    result = convert_episode(plan.episodes[0], plan.job, out, out / "scratch")
    rules = plan.job.bindings[0].cuts
    assert rules is not None
    if isinstance(result, EpisodeFailure):
        assert result.code.value == "still", result.reason
        return
    cuts = cut_episode(state, action, rules, Fraction(FPS))
    assert result.cuts == cuts
    kept = np.setdiff1d(frames, np.concatenate([np.arange(cut.start, cut.stop) for cut in cuts] or [[]]))
    rates = {"source_fps": Fraction(FPS), "target_fps": plan.job.video.fps}
    chosen = kept[choose_frames(len(kept), **rates, resampler=resample).frames]
    rows = read_table(out, 0)
    assert result.num_frames == len(rows) == len(chosen)
    assert read_stamps(video_path(out, 0)) == [Stamp(frame) for frame in chosen.tolist()]
    np.testing.assert_array_equal(matrix(rows, "observation.state"), state[chosen])
    np.testing.assert_array_equal(matrix(rows, "action"), action[chosen])
    seconds = (np.arange(len(chosen)) / float(plan.job.video.fps)).astype(np.float32)
    np.testing.assert_array_equal(rows["timestamp"].to_numpy(), seconds)
