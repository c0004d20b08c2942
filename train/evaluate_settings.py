"""Settings of an evaluation."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from millrace.embodiments import Message, Setting
from millrace.engine.sources.selection import count_from_start
from millrace.train.errors import SettingsError
from millrace.train.flag_types import Flag, option
from millrace.train.policy_flags import PolicyFlags
from millrace.train.server_access import join_address, read_token


@dataclass(frozen=True)
class ServerAddress:
    """Where a GR00T server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "ServerAddress":
        """ "host:port", an IPv6 address in brackets.

        Raises:
            SettingsError: it is anything else.
        """
        host, _, port = text.rpartition(":")
        is_bracketed = host.startswith("[") and host.endswith("]")
        if not host or (":" in host and not is_bracketed) or not port.isdecimal() or not 0 < int(port) < 65536:
            problem = f" takes HOST:PORT, for example 127.0.0.1:5555 or [::1]:5555, not {text!r}"
            raise SettingsError(Message(Setting("server"), problem))
        return cls(host[1:-1] if is_bracketed else host, int(port))

    @property
    def is_ipv6(self) -> bool:
        """Whether the host is an IPv6 address."""
        return ":" in self.host

    def __str__(self) -> str:
        return join_address(self.host, self.port)


@dataclass(frozen=True, kw_only=True)
class ServerFlags:
    """How the server that --server names is spoken to."""

    timeout: Annotated[float, arg(metavar="SECONDS")] = 60.0
    """Longest wait for a server's answer."""
    use_sim_policy_wrapper: Flag = False
    """That server was started with this flag."""
    api_token_env: Annotated[str | None, option("NAME")] = None
    """Environment variable with the token that the server wants."""
    token_file: Annotated[Path | None, option("FILE")] = None
    """File with the token that the server wants, in place of --api-token-env."""


@dataclass(frozen=True, kw_only=True)
class ComputeFlags:
    """Where policies run."""

    num_gpus: int = 1
    """Policies at a time, a GPU each; 0 evaluates in this process."""
    address: Annotated[str | None, option("ADDRESS")] = None
    """A running Ray cluster, for example "auto"; by default a Ray of this machine."""
    cpu: Flag = False
    """On CPUs; --num-gpus then counts processes."""


@dataclass(frozen=True, kw_only=True)
class ScoreFlags:
    """What is compared."""

    horizon: Annotated[int | None, option("STEPS")] = None
    """Steps used of each predicted chunk before the next is predicted; by default all."""


@dataclass(frozen=True, kw_only=True)
class EvaluateFlags(ScoreFlags, PolicyFlags, ServerFlags, ComputeFlags):
    """The settings of an evaluation that are flags as they stand."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(EvaluateFlags):
    """An open-loop evaluation.

    Args:
        dataset: Folder of a GR00T dataset, of held-out episodes.
        checkpoints: Folders, or names on the Hub; none with a server.
        server: A running GR00T server; None to load checkpoints.
        episodes: Slices and indices of episodes; none for all.

    Raises:
        SettingsError: a setting contradicts another, or its value means nothing.
    """

    dataset: Path
    checkpoints: tuple[str, ...] = ()
    server: ServerAddress | None = None
    episodes: tuple[slice | int, ...] = ()

    def __post_init__(self) -> None:
        if self.server is None and not self.checkpoints:
            server = Setting("server", "HOST:PORT")
            raise SettingsError(Message("evaluate takes CHECKPOINT ... DATASET, or ", server, " and DATASET"))
        if self.server is not None and self.checkpoints:
            advice = " evaluates what the server holds: name the dataset alone"
            raise SettingsError(Message(Setting("server"), advice))
        if self.server is None and self.use_sim_policy_wrapper:
            problem = " tells how a server was started: it goes with "
            raise SettingsError(Message(Setting("use_sim_policy_wrapper", True), problem, Setting("server")))
        if self.server is None and self.api_token_env is not None:
            token = Setting("api_token_env", self.api_token_env)
            raise SettingsError(Message(token, " is for a server: it goes with ", Setting("server")))
        if self.server is None and self.token_file is not None:
            file = Setting("token_file", self.token_file)
            raise SettingsError(Message(file, " is for a server: it goes with ", Setting("server")))
        if self.server is not None:
            read_token(self.api_token_env, self.token_file)  # before a dataset is read
        if self.horizon is not None and self.horizon < 1:
            horizon = Setting("horizon", self.horizon)
            raise SettingsError(Message(horizon, ": at least one step of each chunk is compared"))
        if self.num_gpus < 0:
            raise SettingsError(Message(Setting("num_gpus", self.num_gpus), ": must be at least 0"))
        if not self.timeout > 0:
            timeout = Setting("timeout", self.timeout)
            raise SettingsError(Message(timeout, ": must be above 0 seconds"))

    def absolute(self) -> "EvaluateSettings":
        """The same with absolute paths: workers have working directories of their own."""
        return replace(
            self,
            dataset=self.dataset.absolute(),
            checkpoints=tuple(str(Path(name).absolute()) if Path(name).exists() else name for name in self.checkpoints),
            import_module=tuple(path.absolute() for path in self.import_module),
            token_file=self.token_file.absolute() if self.token_file else None,
        )

    @property
    def in_process(self) -> bool:
        """Whether this process evaluates, without Ray; a server answers one request at a time in any case."""
        return self.num_gpus == 0 or self.server is not None

    def select_episodes(self, known: Collection[int]) -> tuple[int, ...]:
        """The episodes to evaluate, of those that the dataset has.

        Raises:
            SettingsError: one that is asked for does not exist, or none is left.
        """
        in_order = sorted(known)
        last = in_order[-1]
        try:
            parts = [count_from_start(part, in_order) for part in self.episodes]
        except ValueError as error:
            raise SettingsError(Message(Setting("episodes"), f": {self.dataset}: {error}")) from None
        strange = [part for part in parts if isinstance(part, int) and part not in known]
        if strange:
            extent = f"it has {len(known)}, the last is {last}"
            problem = f": {self.dataset} has no episode {strange[0]}; {extent}"
            raise SettingsError(Message(Setting("episodes"), problem))
        ranges = [[part] if isinstance(part, int) else range(*part.indices(last + 1)) for part in parts]
        asked = {index for part in ranges for index in part} if self.episodes else set(known)
        chosen = tuple(sorted(asked & set(known)))
        if not chosen:
            problem = f" selects none of the {len(known)} episodes of {self.dataset}"
            raise SettingsError(Message(Setting("episodes"), problem))
        return chosen


@dataclass(frozen=True)
class Contender:
    """What is evaluated: a checkpoint under a tag, or a server, which knows its own tag.

    name: of the checkpoint, or the server's address.
    """

    name: str
    tag: str | None
