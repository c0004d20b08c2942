"""TensorBoard's event files, read back: records of a length, two checksums, and a message of protobuf."""

from collections import defaultdict
from pathlib import Path

HEADER = 12  # the length, little endian in 8 bytes, and its checksum
CHECKSUM = 4  # of the message


def read_scalars(log: Path) -> dict[str, dict[int, float]]:
    """The values of each scalar by step."""
    from tensorboardX.proto.event_pb2 import Event

    content, place = log.read_bytes(), 0
    found: dict[str, dict[int, float]] = defaultdict(dict)
    while place < len(content):
        begin = place + HEADER
        end = begin + int.from_bytes(content[place : place + 8], "little")
        event = Event.FromString(content[begin:end])
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found[value.tag][event.step] = value.simple_value
        place = end + CHECKSUM
    return dict(found)
