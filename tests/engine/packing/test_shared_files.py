"""Which episodes share a file."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from millrace.engine.packing.shared_files import MAX_SECONDS, VIDEO_PATH, Load, SharedFile, share_files

LOADS = st.lists(st.builds(Load, st.integers(1, 50), st.fractions(0, 700), st.sampled_from("ab")), max_size=30)


@given(LOADS, st.integers(1, 100))
def test_files_hold_all_episodes_in_order_and_no_more_than_they_may(loads: list[Load], limit: int) -> None:
    files = share_files(loads, max_bytes=limit)
    assert [number for file in files for number in file.episodes] == list(range(len(loads)))
    assert [file.number for file in files] == list(range(len(files)))
    for file in files:
        own = [loads[number] for number in file.episodes]
        assert len({load.kind for load in own}) == 1
        assert len(own) == 1 or sum(load.num_bytes for load in own) <= limit
        assert len(own) == 1 or sum((load.seconds for load in own), Fraction(0)) <= MAX_SECONDS


@given(LOADS, st.integers(1, 100))
def test_the_next_episode_would_not_have_fitted(loads: list[Load], limit: int) -> None:
    for file in share_files(loads, max_bytes=limit)[:-1]:
        own = [loads[number] for number in (*file.episodes, file.episodes.stop)]
        is_full = sum(load.num_bytes for load in own) > limit or sum(load.seconds for load in own) > MAX_SECONDS
        assert is_full or own[-1].kind != own[-2].kind


def test_a_thousand_files_fill_a_folder() -> None:
    paths = [SharedFile(number, range(0)).path(VIDEO_PATH, video_key="top") for number in (999, 1000)]
    assert list(map(str, paths)) == ["videos/top/chunk-000/file-999.mp4", "videos/top/chunk-001/file-000.mp4"]
