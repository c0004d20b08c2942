"""Memory and cores that a process may use, by control groups as Docker, Kubernetes and Slurm set them."""

from pathlib import Path

import pytest

from millrace.engine.execution.capacity import READER_BYTES, available_memory, reader_processes, usable_cores

GB = 1 << 30
MEMINFO = "MemTotal:       65536000 kB\nMemAvailable:   50000000 kB\n"
FREE = 50_000_000 << 10


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, FREE),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, FREE),
        (
            {
                "proc/self/cgroup": "0::/job/task\n",
                "sys/fs/cgroup/job/memory.max": f"{8 * GB}\n",
                "sys/fs/cgroup/job/memory.current": f"{5 * GB}\n",
                "sys/fs/cgroup/job/memory.stat": f"anon 1\ninactive_file {2 * GB}\n",
            },
            5 * GB,
        ),
        (
            {  # A container sees its own group at the root, by the path that it has on the host.
                "proc/self/cgroup": "0::/host/docker/abc\n",
                "sys/fs/cgroup/memory.max": f"{4 * GB}\n",
                "sys/fs/cgroup/memory.current": f"{GB}\n",
            },
            3 * GB,
        ),
        (
            {
                "proc/self/cgroup": "12:cpu,cpuacct:/\n9:memory:/docker/abc\n",
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{6 * GB}\n",
                "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": f"{GB}\n",
            },
            5 * GB,
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": f"{GB}\n",
                "sys/fs/cgroup/memory.current": f"{2 * GB}\n",
            },
            0,
        ),
    ],
    ids=["no-groups", "no-limit", "v2-parent", "v2-container", "v1", "over-the-limit"],
)
def test_memory_is_what_control_groups_leave(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert available_memory(write(tmp_path, {"proc/meminfo": MEMINFO, **files})) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/job/task\n", "sys/fs/cgroup/job/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/host/abc\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        (
            {
                "proc/self/cgroup": "12:cpu,cpuacct:/docker/abc\n9:memory:/\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "12:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            64,
        ),
        ({}, 64),
    ],
    ids=["v2-parent", "v2-container", "no-limit", "v1", "v1-no-limit", "no-groups"],
)
def test_cores_are_what_control_groups_and_affinity_leave(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)))
    assert usable_cores(write(tmp_path, files)) == expected


@pytest.mark.parametrize(("num_fitting", "expected"), [(0, 1), (1, 1), (10_000, None)])
def test_processes_that_read_fit_the_memory(num_fitting: int, expected: int | None, tmp_path: Path) -> None:
    """As many as cores where memory allows."""
    root = write(tmp_path, {"proc/meminfo": f"MemAvailable: {(num_fitting * READER_BYTES >> 10) + 1} kB\n"})
    assert reader_processes(root) == (expected or usable_cores(root))
