"""What a machine's GPU can do, by stage, and the backends that a dataset gets from it."""

from collections.abc import Collection, Sequence

from pydantic import Field

from millrace.embodiments import FrozenModel, Remedy, Setting
from millrace.engine.errors import RecipeError
from millrace.engine.video.backends import CPU_BACKENDS, NVENC, X264, Backends, Device, Encoder, Gpu

# Codecs of LeRobot's datasets.
CODECS = ("av1", "h264", "hevc")
RESIZE, ENCODE = "resize", "encode"
# What a card without an encoder is worth using for: beside an H100, its cores alone convert H.264 1.1 times as fast.
WORTHWHILE_CODECS = ("av1",)


CUDA = Setting("device", "cuda")


class NoGpuStage(RecipeError):
    """The device is to be cuda, but something cannot be done on a GPU."""


class StageCheck(FrozenModel):
    """Whether a stage works; problem: why not, None if it does."""

    stage: str
    problem: str | None = None


class GpuReport(FrozenModel):
    """The GPU of one machine.

    node: its name. has_gpu: as the node declares, broken or in use too; workers that need one are sent there. card,
    driver: None where none can be used. keeps_frames: see `Gpu`. checks: empty where no card was tried.
    num_sessions: of NVENC, which the card opened at once. failed: why the probe did not answer. missing: what to
    install or fix before a card can be used.
    """

    node: str
    has_gpu: bool = False
    card: str | None = None
    driver: str | None = None
    keeps_frames: bool = False
    checks: tuple[StageCheck, ...] = ()
    num_sessions: int = 0
    failed: str | None = None
    missing: tuple[str, ...] = ()
    versions: dict[str, str | None] = Field(default_factory=dict)

    def problem(self, stage: str) -> str | None:
        """Why a stage cannot be done on this machine's GPU; None if it can."""
        if not self.checks:
            return self.failed or "; ".join(self.missing) or "no GPU was found"
        return next((check.problem for check in self.checks if check.stage == stage), "was not tried")


def decode_stage(codec: str) -> str:
    """The name of the stage that decodes a codec."""
    return f"decode {codec}"


def choose_backends(
    reports: Sequence[GpuReport], device: Device, codecs: Collection[str]
) -> tuple[Backends, Gpu | None]:
    """Choose the backends of a dataset, and how this run uses its GPUs.

    A stage counts as working if it does on every machine that has a card, as all share one dataset. "auto" uses
    cards if they encode, or decode what costs cores most (WORTHWHILE_CODECS): else cores alone are faster.

    Args:
        reports: Of machines; those without a GPU do not count, and on one whose GPU was not tried nothing works.
        device: What the user asks for.
        codecs: Of the sources' videos, as libav names them.

    Raises:
        NoGpuStage: "cuda" was asked for, and a GPU cannot do some stage.
    """
    reports = _with_gpu(reports)
    decoded = tuple(codec for codec in codecs if _is_working(reports, decode_stage(codec)))
    has_nvenc = _is_working(reports, ENCODE) and len({(report.card, report.driver) for report in reports}) == 1
    is_used = _is_working(reports, RESIZE) and (has_nvenc or not set(decoded).isdisjoint(WORTHWHILE_CODECS))
    if device == "cuda":
        _require(
            reports, codecs, has_nvenc=has_nvenc, nearest=_suggest_device(decoded, is_used=is_used, has_nvenc=has_nvenc)
        )
    if device == "cpu" or not is_used:
        return CPU_BACKENDS, None
    first = reports[0]
    encoder: Encoder = NVENC if has_nvenc else X264
    backends = Backends(resize="area", encoder=encoder, card=first.card, driver=first.driver)
    return backends, _use_gpu(reports, decoded, encoder)


def choose_gpu(backends: Backends, reports: Sequence[GpuReport], codecs: Collection[str]) -> Gpu | None:
    """Choose how this run uses its GPUs for a dataset that was created with `backends`; None: it does not.

    Raises:
        NoGpuStage: it was created with NVENC, and the same card and driver are not here.
    """
    reports = _with_gpu(reports)
    if backends.encoder == NVENC:
        here = {(report.card, report.driver) for report in reports}
        if not _is_working(reports, ENCODE) or here != {(backends.card, backends.driver)}:
            found = ", ".join(sorted({_describe_card(report) for report in reports})) or "no GPU"
            problem = f"this dataset was created with {backends}, whose bytes no other card or driver gives"
            advice = Remedy("Continue where it was created, or pass ", Setting("overwrite", True))
            created = f"{backends.card} with driver {backends.driver}"
            raise NoGpuStage(problem, f"; here is {found}. ", advice, got=found, expected=created)
    if backends.resize != "area" or not _is_working(reports, RESIZE):
        return None
    decoded = tuple(codec for codec in codecs if _is_working(reports, decode_stage(codec)))
    if not decoded and backends.encoder != NVENC:
        return None
    return _use_gpu(reports, decoded, backends.encoder)


def _with_gpu(reports: Sequence[GpuReport]) -> list[GpuReport]:
    return [report for report in reports if report.has_gpu]


def _use_gpu(reports: Sequence[GpuReport], decoded: tuple[str, ...], encoder: Encoder) -> Gpu:
    return Gpu(
        codecs=decoded,
        keeps_frames=all(report.keeps_frames for report in reports),
        num_sessions=min(report.num_sessions for report in reports) if encoder == NVENC else None,
    )


def _describe_card(report: GpuReport) -> str:
    if report.card is None:
        return f"no GPU of {report.node} ({report.problem(ENCODE)})"
    return f"{report.card} with driver {report.driver}"


def _is_working(reports: Sequence[GpuReport], stage: str) -> bool:
    return bool(reports) and all(report.problem(stage) is None for report in reports)


def _require(reports: Sequence[GpuReport], codecs: Collection[str], *, has_nvenc: bool, nearest: str) -> None:
    """Raises NoGpuStage for the first stage that cannot be done, by card and reason."""
    if not reports:
        raise NoGpuStage(CUDA, ": no GPU was found, ", Remedy("`millrace doctor` says what is missing. ", nearest))
    for stage in (*map(decode_stage, codecs), RESIZE, ENCODE):
        for report in reports:
            if (problem := report.problem(stage)) is not None:
                card = report.card or "no GPU"
                raise NoGpuStage(CUDA, f": {stage}: {card} of {report.node} cannot: {problem}. ", nearest)
    if not has_nvenc:
        cards = ", ".join(sorted({f"{report.card} with driver {report.driver}" for report in reports}))
        raise NoGpuStage(CUDA, f": {ENCODE}: {cards} would give a dataset of different bytes. ", nearest)


def _suggest_device(decoded: Sequence[str], *, is_used: bool, has_nvenc: bool) -> str:
    if not is_used:
        return Remedy("Nearest: ", Setting("device", "cpu"), ", all on the CPU")
    decoder = f"decodes {', '.join(decoded)}" if decoded else "does not decode"
    rest = f", where the GPU {decoder}, resizes, and {NVENC if has_nvenc else X264} encodes"
    return Remedy("Nearest: ", Setting("device", "auto"), rest)
