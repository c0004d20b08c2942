"""Datasets on the Hub: their list of files and their metadata first, any other file when an episode needs it.

Files lie in the cache that huggingface_hub shares between all programs; it locks them, and takes up again
what was interrupted.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from millrace.engine.errors import DatasetError, HubError
from millrace.engine.hub.calls import HubName, call_hub, list_files, map_at_once
from millrace.engine.hub.silence import silence_hub
from millrace.engine.layout import CARD, MANIFEST
from millrace.engine.sources.checked_parquet import DAMAGE
from millrace.engine.sources.footer import read_num_rows
from millrace.engine.sources.hub_contents import describe_no_dataset
from millrace.engine.sources.location import HubId
from millrace.engine.sources.parquet import count_rows, is_hidden
from millrace.engine.sources.remote_names import MAX_CARD_BYTES, PUBLISHED, is_metadata, row_files

# Without handlers of an application's own, a warning is a bare line on standard error.
LOGGER = logging.getLogger("millrace")

FOOTER_BYTES = 1 << 16
# Of as many datasets of a recipe the list of files is kept in memory.
NUM_LISTINGS = 8
# Which files a commit has, below the Hub's home folder; a commit never changes.
LISTINGS = "millrace/listings"
COMMIT = re.compile(r"[0-9a-f]{40}")
SIZES = TypeAdapter(dict[str, int])


@dataclass(frozen=True)
class HubRepo:
    """A dataset's repository at one commit.

    cache: the Hub's cache. root: the commit's folder in it, at the same path on every machine.
    beside: files that whoever reads an episode may need as well.
    """

    name: HubName
    cache: Path
    root: Path
    beside: tuple[Path, ...] = ()

    @property
    def commit(self) -> str:
        """The commit's hash."""
        assert self.name.revision is not None, "a repository is opened at a commit"
        return self.name.revision

    def fetch(self, paths: Iterable[Path]) -> None:
        """Fetch files that are not in the cache.

        Raises:
            HubError: one cannot be had.
        """
        missing = [path for path in dict.fromkeys((*self.beside, *paths)) if not path.is_file()]
        self._download(missing)

    def fetch_rows(self, folder: Path) -> None:
        """Fetch all parquet files below a folder that are not in the cache.

        Raises:
            HubError: one cannot be had.
        """
        below = f"{self._inside(folder)}/"
        names = [name for name in _known_sizes(self.name) if name.startswith(below) and name.endswith(".parquet")]
        self._download([path for path in map(self.root.joinpath, names) if not path.is_file()])

    def fetch_first(self, candidates: Iterable[Sequence[Path]]) -> None:
        """For each group of paths, fetch the first that the commit has, if any, unless the cache holds it.

        Raises:
            HubError: one cannot be had.
        """
        sizes = _known_sizes(self.name)
        found = (next((path for path in some if self._inside(path) in sizes), None) for some in candidates)
        missing = [path for path in dict.fromkeys(found) if path is not None and not path.is_file()]
        self._download(missing)

    def _download(self, paths: Sequence[Path]) -> None:
        if paths:
            with silence_hub():
                map_at_once(lambda path: download_file(self.name, self._inside(path), self.cache), paths)

    def has_suffix(self, suffixes: tuple[str, ...]) -> bool:
        """Whether any file of the commit has such a suffix."""
        return any(path.lower().endswith(suffixes) for path in _known_sizes(self.name))

    def _inside(self, path: Path) -> str:
        """A file as the Hub calls it; empty for what lies elsewhere."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else ""

    def content_state(self, path: Path) -> str:
        """Text that changes if a file's content does; a commit never changes."""
        return f"{self.name.repo}@{self.commit}/{path.relative_to(self.root).as_posix()}"

    def holding_files(self) -> AbstractContextManager[None]:
        """Nothing is to be done: no file of the Hub's cache is deleted by us."""
        return nullcontext()


@dataclass(frozen=True)
class HubFiles:
    """The files of a repository, most of them not here. sizes: bytes by path below its root."""

    repo: HubRepo
    sizes: Mapping[str, int]

    def bounds(self, root: Path) -> Path:
        """Links of a dataset from the Hub lead nowhere but to its own blobs."""
        return root

    def size(self, path: Path) -> int | None:
        """Bytes of a file; None where there is none."""
        return self.sizes.get(path.relative_to(self.repo.root).as_posix())

    def state(self, path: Path) -> object:
        """What changes if a file does: the commit, which never does."""
        return self.repo.commit

    def fetch_all(self) -> None:
        """Fetch every file that is not in the cache, but for hidden ones.

        Raises:
            HubError: one cannot be had.
        """
        names = (name for name in self.sizes if not is_hidden(PurePosixPath(name)))
        self.repo.fetch(map(self.repo.root.joinpath, names))

    def count_rows(self, root: Path, pattern: str) -> dict[Path, int | DatasetError]:
        """Rows of each parquet file; of those that are not here, only the footer is downloaded."""
        paths = row_files(root, self.sizes, pattern)
        if not paths:
            raise DatasetError(f"{self.repo.name.repo} on the Hub has no parquet file below data/")
        with silence_hub():
            return dict(zip(paths, map_at_once(self._count_rows, paths), strict=True))

    def _count_rows(self, path: Path) -> int | DatasetError:
        from huggingface_hub import HfFileSystem

        if path.is_file():
            return count_rows([path])[path]
        name = f"datasets/{self.repo.name.repo}@{self.repo.commit}/{path.relative_to(self.repo.root).as_posix()}"

        def read_footer() -> int:
            with HfFileSystem().open(name, "rb", block_size=FOOTER_BYTES) as file:
                return read_num_rows(file)

        try:
            return call_hub(read_footer, self.repo.name)
        except DAMAGE as error:
            return DatasetError(f"{path} on the Hub is truncated or corrupt ({error})")


def open_repo(hub_id: HubId) -> HubFiles:
    """Find the commit that an id means now, list its files, and download its metadata.

    An id with a commit needs no network once all of that is here.

    Raises:
        HubError: there is no such dataset or revision, it may not be read, or the Hub cannot be reached.
        DatasetError: the repository holds no metadata.
    """
    from huggingface_hub import constants

    with silence_hub():
        commit = hub_id.revision if _is_commit(hub_id.revision) else _commit_now(hub_id)
        LOGGER.warning("source: %s@%s on the Hub", hub_id.repo, commit)
        name = HubName("dataset", hub_id.repo, commit)
        sizes = _known_sizes(name)
        wanted = [path for path in sizes if is_metadata(path)]
        if not wanted:
            raise describe_no_dataset(hub_id, sizes)
        cache = Path(constants.HF_HUB_CACHE).absolute()
        found_at = [download_file(name, path, cache) for path in wanted]
        if sizes.get(CARD, MAX_CARD_BYTES) < MAX_CARD_BYTES:
            # It states the licence, without which the dataset is read as well.
            with suppress(HubError):
                download_file(name, CARD, cache)
    root = found_at[0].parents[len(PurePosixPath(wanted[0]).parts) - 1]
    beside = tuple(root / path for path in PUBLISHED if MANIFEST in sizes and path in sizes)
    return HubFiles(HubRepo(name, cache, root, beside), sizes)


def _is_commit(revision: str | None) -> bool:
    """Whether it is a commit's full hash, which can only ever mean one state of the files."""
    return revision is not None and COMMIT.fullmatch(revision) is not None


def _commit_now(hub_id: HubId) -> str:
    """The commit of a branch or tag, as the Hub has it."""
    from huggingface_hub import HfApi

    name = HubName("dataset", hub_id.repo, hub_id.revision)
    commit: str | None = call_hub(lambda: HfApi().dataset_info(hub_id.repo, revision=hub_id.revision).sha, name)
    assert commit is not None, "the Hub names the commit of every revision"
    return commit


@lru_cache(maxsize=NUM_LISTINGS)
def _known_sizes(name: HubName) -> dict[str, int]:
    """Bytes of each file of a commit, by path."""
    from huggingface_hub import constants

    return _listed(name, Path(constants.HF_HOME) / LISTINGS)


def _listed(name: HubName, folder: Path) -> dict[str, int]:
    """Bytes of each file of a commit, by path; asked for once, then kept in a folder."""
    kept = folder / f"{name.repo.replace('/', '--')}@{name.revision}.json"
    with suppress(OSError, ValidationError):
        return SIZES.validate_json(kept.read_bytes())
    sizes = call_hub(lambda: list_files(name), name)
    with suppress(OSError):  # a home folder that is read-only, or full, only costs asking again
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_name(f"{uuid4().hex}.unfinished")
        unfinished.write_bytes(SIZES.dump_json(sizes))
        unfinished.replace(kept)
    return sizes


def download_file(name: HubName, path: str, cache: Path) -> Path:
    """Download a repository's file unless the cache has it; returns its path there.

    Raises:
        HubError: it cannot be had.
    """
    from huggingface_hub import hf_hub_download

    settings = {"repo_type": name.kind, "revision": name.revision, "cache_dir": cache}
    return Path(call_hub(lambda: hf_hub_download(name.repo, path, **settings), name))
