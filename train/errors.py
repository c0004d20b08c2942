"""Error types of training runs. Each message is one line for the user."""

from millrace.embodiments import MillraceError


class TrainError(MillraceError):
    """A training run cannot start, or did not end well."""


class SettingsError(TrainError):
    """The command line asks for something impossible."""

    exit_code = 2


class BatchError(SettingsError):
    """The global batch size does not divide into what each worker takes."""


class RequestError(TrainError):
    """A client asks a server for something that it cannot answer."""


class GrootMissing(TrainError):
    """GR00T, or something that it needs, cannot be imported, or it is another release."""

    exit_code = 2


class GpuMissing(SettingsError):
    """More GPUs are asked for than there are."""


class ConfigError(TrainError):
    """A modality config, a module of the user or a base checkpoint is not what GR00T needs."""

    exit_code = 2


class OtherRun(SettingsError):
    """The output folder was created with another dataset, robot, horizon or base model."""


class WorldMismatch(TrainError):
    """The trainer, the process group and the command line count different numbers of workers."""


class StorageNotShared(TrainError):
    """Workers see different files where all must see the same."""


class WeightsDiverged(TrainError):
    """The workers hold different weights, each a model of its own, or weights that are not finite."""


class TrainingFailed(TrainError):
    """A worker failed, and no restart was left."""


class TrainingStopped(TrainError):
    """A user or a scheduler stopped the run, which has saved a checkpoint; the exit code is that of Ctrl-C."""

    exit_code = 130


class EvaluationError(TrainError):
    """A policy cannot be evaluated: it, or the server that it runs in, does not act as it should."""


class RolloutError(TrainError):
    """A rollout cannot begin: no such environment, or a dataset that cannot be played in it."""

    exit_code = 2
