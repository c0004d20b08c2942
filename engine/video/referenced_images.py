"""Read images that rows name by a path: PNG or JPEG files in the dataset's own folder."""

from millrace.engine.errors import FaultCode, VideoError
from millrace.engine.sources import RowRange, diagnose_file, why_refused
from millrace.engine.sources.image_paths import NUM_FOLDERS, image_candidates

# No camera's image is larger.
MAX_BYTES = 256 << 20


def read_image_file(name: str, rows: RowRange, where: str) -> bytes:
    """Read the image file that a row names.

    Args:
        name: Relative to the dataset's folder, to its images/, or to the parquet file.
        rows: The rows that name it.
        where: The row, for errors.

    Raises:
        VideoError: there is no such file, or it must not be opened or cannot be read.
    """
    candidates = list(image_candidates(name, rows.path))
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise VideoError(f"{where} holds no image, and {name!r}, which it names, is not there", FaultCode.MISSING)
    if refusal := why_refused(path, rows.root or rows.path.parents[NUM_FOLDERS - 1]):
        raise VideoError(f"{where} names {path}, which {refusal}", refusal.code)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise VideoError(f"{where} names {path}, which is larger than {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        code, what = diagnose_file(path, error)
        raise VideoError(f"{path} {what}", code) from error
