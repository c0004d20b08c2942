"""What a failure says in one line: of a worker, of its loader processes, and of a process that is gone."""

import os
import pickle
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from millrace.train.errors import TrainingFailed, WeightsDiverged
from millrace.train.failures import MAX_CHARACTERS, describe_failure, explain_failures, join_failures
from millrace.train.training_dataset import TrainingDataError

torch = pytest.importorskip("torch", reason="NOT TESTED: needs torch: pip install '.[train]'")

OURS = "out/aloha, episode 3: camera top: out/aloha/videos/episode_000003.mp4 does not exist"


class Unmakeable(Exception):
    """An error that torch cannot make again from a text."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


def fail_with_ours() -> None:
    try:
        raise FileNotFoundError("no such file")
    except FileNotFoundError as error:
        raise TrainingDataError(OURS) from error


def fail_in_two_lines() -> None:
    raise RuntimeError("unable to write\nto shared memory")


def fail_by_key() -> None:
    raise KeyError("ego_view")


def fail_unmakeable() -> None:
    raise Unmakeable(7, "no codec")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Failing(torch.utils.data.IterableDataset):  # type: ignore[misc, name-defined]
    def __init__(self, fail: Any) -> None:
        self.fail = fail

    def __iter__(self) -> Iterator[int]:
        yield 1
        self.fail()


def failure_of(fail: Any, num_loaders: int) -> BaseException:
    context = "fork" if num_loaders else None
    loader = torch.utils.data.DataLoader(
        Failing(fail), batch_size=None, num_workers=num_loaders, multiprocessing_context=context
    )
    with pytest.raises(Exception) as caught:  # noqa: PT011, any that a library raises
        list(loader)
    return caught.value


@pytest.mark.parametrize(
    ("fail", "in_process", "in_loader"),
    [
        (fail_with_ours, OURS, OURS),
        (fail_in_two_lines, *["RuntimeError: unable to write to shared memory"] * 2),
        (fail_by_key, *["KeyError: 'ego_view'"] * 2),
        (fail_unmakeable, "Unmakeable: no codec (7)", f"{__name__}.Unmakeable: no codec (7)"),
    ],
)
def test_an_error_says_the_same_with_any_number_of_loader_processes(fail: Any, in_process: str, in_loader: str) -> None:
    assert describe_failure(failure_of(fail, 0)) == in_process
    for num_loaders in (1, 2):
        failure = failure_of(fail, num_loaders)
        assert describe_failure(failure) == f"loader process 0: {in_loader}"
        assert "Traceback" in str(failure)


def test_a_loader_process_that_was_killed_is_named() -> None:
    assert "DataLoader worker (pid" in (told := describe_failure(failure_of(die, 1)))
    assert "killed" in told


def test_an_error_without_a_message_says_so_and_a_long_one_ends() -> None:
    assert describe_failure(RuntimeError()) == "RuntimeError: no message"
    told = describe_failure(RuntimeError("x" * 10_000))
    assert told.endswith("x ...")
    assert len(told) < MAX_CHARACTERS + 50


def test_errors_are_printed_in_full_and_raised_in_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrainingFailed, match=f"^loader process 0: {OURS}$") as caught, explain_failures():
        raise failure_of(fail_with_ours, 1)
    printed = capfd.readouterr().err
    assert printed.count("FileNotFoundError: no such file") == 1
    assert "in fail_with_ours" in printed
    assert str(pickle.loads(pickle.dumps(caught.value))) == f"loader process 0: {OURS}"


def test_our_own_errors_stay_what_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsDiverged, match=r"^apart$"), explain_failures():
        raise WeightsDiverged("apart")
    assert "Traceback" in capfd.readouterr().err


def test_workers_that_say_the_same_are_named_together() -> None:
    assert join_failures({"0": "a", "1 on b": "c", "2": "a"}) == "worker 0, 2: a; worker 1 on b: c"


def test_a_gpu_that_is_full_is_told_with_what_keeps_the_batch() -> None:
    said = (
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.25 GiB is "
        "free. Including non-PyTorch memory, this process has 77.84 GiB memory in use."
    )
    assert describe_failure(torch.OutOfMemoryError(said)) == (
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of "
        "which 1.25 GiB is free: pass --batch auto, or a larger --gradient-accumulation-steps, which keep the global "
        "batch"
    )


def test_a_worker_that_died_is_told_before_those_that_miss_it() -> None:
    messages = {"0": "RuntimeError: Connection reset by peer", "1": "its process died: killed", "2": "ValueError: b"}
    assert join_failures(messages) == (
        "worker 1: its process died: killed; worker 0: RuntimeError: Connection reset by peer; worker 2: ValueError: b"
    )
