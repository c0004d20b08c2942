"""Choose the packets of a clip that must be decoded for the wanted frames.

LeRobot's AV1 has a key frame every second frame, so at 50 -> 20 Hz much of a clip need not be decoded.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class PacketInfo:
    """What a container says of one packet; pts in the stream's time base.

    is_discard: an edit list cuts its frame off; others may refer to it.
    """

    pts: int | None
    is_keyframe: bool
    is_discard: bool = False


class PacketUse(Enum):
    """How a packet is used."""

    SKIP = "is not decoded"
    REFERENCE = "is decoded only if other frames refer to it"
    SHOW = "is decoded, its frame is wanted"


def is_one_to_one(packets: Sequence[PacketInfo]) -> bool:
    """Whether every packet shows exactly one frame, as far as time stamps tell."""
    pts = [packet.pts for packet in packets]
    return bool(pts) and packets[0].is_keyframe and None not in pts and len(set(pts)) == len(pts)


def plan_packets(packets: Sequence[PacketInfo], wanted_pts: Set[int]) -> list[PacketUse]:
    """Plan the use of each packet, a group of pictures (key frame to key frame) at a time.

    A group is skipped when none of its frames is wanted, and cut after its last wanted one. Wanted
    frames that are shown before their own key frame (open GOP) need the whole group before as well.

    Args:
        packets: In file (decode) order; one to one with frames.
        wanted_pts: Presentation times of the frames to be shown.
    """
    uses = [PacketUse.SHOW if packet.pts in wanted_pts else PacketUse.SKIP for packet in packets]
    starts = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    stops = [*starts[1:], len(packets)]
    previous = 0
    for start, stop in zip(starts, stops, strict=True):
        shown = [index for index in range(start, stop) if uses[index] is PacketUse.SHOW]
        if shown:
            is_open = any(_pts(packets[index]) < _pts(packets[start]) for index in shown)
            for index in range(previous if is_open else start, shown[-1]):
                if uses[index] is PacketUse.SKIP:
                    uses[index] = PacketUse.REFERENCE
        previous = start
    return uses


def _pts(packet: PacketInfo) -> int:
    assert packet.pts is not None, "plan_packets wants packets that map one to one to frames"
    return packet.pts
