"""Training's loader on a GPU's decoder: the frames that the CPU gives, or who is to blame."""

from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import VideoError
from engine.video.decode import open_video
from engine.video.gpu import hardware
from engine.video.rgb import PictureKind, decode_pictures, planar
from synthetic import SyntheticVideo, write_video
from train.preflight.machine import NVDEC, look_at_machine
from train.shards import FrameReader

NUM_FRAMES = 24
SPARSE = np.array([3, 4, 17])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("training") / "v.mp4"
    write_video(path, num_frames=NUM_FRAMES, fps=20, video=SyntheticVideo(codec="libx264", gop=10))
    return path


def test_nvdecs_layout_becomes_the_cpus_with_every_tag(path: Path) -> None:
    with open_video(path) as (container, stream):
        for frame in container.decode(stream):
            back = planar(frame.reformat(format="nv12"))
            np.testing.assert_array_equal(back.to_ndarray(), frame.to_ndarray())
            assert kind(back) == kind(frame)


def kind(frame: av.VideoFrame) -> PictureKind:
    return PictureKind(frame.format.name, frame.width, frame.height, int(frame.colorspace), int(frame.color_range))


@pytest.mark.skipif(hardware.may_have_gpu(), reason="for machines without a GPU")
def test_without_a_gpu_the_loader_and_preflight_say_so(path: Path) -> None:
    with pytest.raises(VideoError, match="libav cannot use the GPU"):
        FrameReader(lambda path, indices: np.empty(0), gpu=0).read(path, SPARSE, num_frames=NUM_FRAMES)
    machine = look_at_machine(path.parent, decoder=NVDEC)
    assert machine.broken_decoders == {NVDEC: "no NVIDIA device (/dev/nvidia0)"}


@pytest.mark.gpu
@pytest.mark.skipif(not hardware.may_have_gpu(), reason="needs an NVIDIA GPU; untested on hardware where skipped")
def test_the_gpus_frames_are_the_cpus(path: Path) -> None:
    found, expected = (list(decode_pictures(path, SPARSE, num_frames=NUM_FRAMES, gpu=gpu)) for gpu in (0, None))
    for one, other in zip(found, expected, strict=True):
        assert one.kind == other.kind
        np.testing.assert_array_equal(one.frame.to_ndarray(), other.frame.to_ndarray())
