"""Messages of GR00T's inference servers: msgpack, arrays as .npy; untrusted bytes are read within bounds."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from millrace.train.errors import RequestError

ARRAY, ARRAY_BYTES, CONFIG = "__ndarray_class__", "as_npy", "__ModalityConfig_class__"
# Far above what a robot sends: containers of a message and what each holds, so that few bytes cannot fill the memory.
MAX_CONTAINERS, MAX_ITEMS, MAX_TEXT_BYTES = 2_000, 2_000, 100_000
MAX_DIMENSIONS = 8
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def encode(value: object) -> bytes:
    """A message of plain values and numpy arrays."""
    import msgpack

    packed: bytes = msgpack.packb(value, default=_encode_array)
    return packed


def decode(message: bytes) -> Any:
    """What a message holds.

    Raises:
        RequestError: it is no such message, or beyond the bounds.
    """
    import msgpack

    left = [MAX_CONTAINERS]
    try:
        return msgpack.unpackb(
            message,
            object_hook=lambda found: _read_mapping(_count(found, left)),
            list_hook=lambda found: _count(found, left),
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_str_len=MAX_TEXT_BYTES,
            max_ext_len=0,
        )
    except RequestError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RequestError(f"the message cannot be read: {reason[:200]}") from error


def encode_config(steps: Sequence[int], names: Sequence[str]) -> dict[str, object]:
    """One modality's part of a modality config, which GR00T's clients read back as their own class."""
    return {CONFIG: True, "as_json": {"delta_indices": [*steps], "modality_keys": [*names]}}


def _encode_array(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"cannot send {type(value).__name__}")
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return {ARRAY: True, ARRAY_BYTES: file.getvalue()}


def _count(found: Any, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise RequestError(f"the message has more than {MAX_CONTAINERS} lists and mappings")
    return found


def _read_mapping(found: dict[Any, Any]) -> Any:
    return read_array(found.get(ARRAY_BYTES)) if ARRAY in found else found


def read_array(content: object) -> NDArray[Any]:
    """A numeric array from the bytes of a .npy file, without a copy; what its header claims must be there.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(content, bytes):
        raise RequestError("an array must come as the bytes of a .npy file")
    file = io.BytesIO(content)
    try:
        read_header = HEADERS[npy.read_magic(file)]
        shape, is_fortran, dtype = read_header(file)
    except (KeyError, ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise RequestError("an array is no .npy file of version 1 or 2") from error
    if dtype.kind not in "fiub" or len(shape) > MAX_DIMENSIONS or any(side < 0 for side in shape):
        raise RequestError(f"an array of {dtype} with {len(shape)} dimensions is not taken")
    num_bytes = dtype.itemsize
    for side in shape:  # Python's integers: a product in 64 bits could overflow
        num_bytes *= side
    start = file.tell()
    if num_bytes != len(content) - start:
        raise RequestError(f"an array of {shape} {dtype} has {num_bytes} bytes, {len(content) - start} came")
    values: NDArray[Any] = np.frombuffer(content, dtype, offset=start)
    return values.reshape(shape, order="F" if is_fortran else "C")
