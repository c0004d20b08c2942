"""Print a training run's plan and problems to a terminal."""

from datetime import timedelta
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from millrace.train.preflight.needs import Needs
from millrace.train.preflight.resources import (
    ACTIVATION_BYTES,
    FORKED_LOADER_BYTES,
    GPU_SAMPLES_PER_SECOND,
    GUIDE_ROWS,
    GUIDE_STEPS,
    SERVER_BYTES,
    WORKER_BYTES,
    ModelSize,
    Sharing,
    gpu_bytes,
    training_seconds,
)
from millrace.train.preflight.run_plan import Plan

if TYPE_CHECKING:
    from millrace.train.preflight import Preflight

GB = 1e9
MILLION = 1e6
STYLES = {"error": "bold red", "warning": "yellow"}


def print_plan(checked: "Preflight", console: Console) -> None:
    """Print the plan, as far as it could be made, then warnings, then problems."""
    if checked.plan is not None:
        for table in (_model(checked.plan), _data(checked.plan), _run(checked.plan)):
            console.print(table)
        if checked.plan.on_gpus:
            console.print(_guides(checked.plan))
            _formulas(console)
    for line in checked.lines():
        # As Text, since a path may hold what rich takes for markup; unwrapped, so that lines can be searched.
        console.print(Text(line, STYLES.get(line.split(" ")[0], "")), soft_wrap=True)
    if checked.is_valid:
        console.print("ready to train", style="green")
    else:
        console.print(checked.counts)


def _model(plan: Plan) -> Table:
    table = _table(f"model  {plan.base}", "component", "parameters|", "trained|", "decided by")
    if plan.components is None or plan.model is None:
        table.add_row("sizes unknown", "", "", "")
        return table
    for part in plan.components:
        trained = _millions(part.num_values) if part.is_trained else "frozen"
        table.add_row(part.name, _millions(part.num_values), trained, part.why)
    share = plan.model.num_trained / max(plan.model.num_values, 1)
    total = f"{_millions(plan.model.num_trained)} ({share:.0%})"
    table.add_row("all", _millions(plan.model.num_values), total, "", style="bold")
    return table


def _data(plan: Plan) -> Table:
    names = ("dataset", "episodes|", "frames|", "steps|", "shards|", "steps/shard|", "share|", "passes|")
    table = _table("data", *names)
    for dataset in plan.datasets:
        sharding = dataset.sharding
        table.add_row(
            Text(str(dataset.path)),
            f"{dataset.num_episodes:,}",
            f"{dataset.num_frames:,}",
            f"{sharding.num_steps:,}",
            f"{sharding.num_shards:,}",
            f"{sharding.steps_per_shard:,.0f}",
            f"{dataset.share:.0%}",
            f"{dataset.passes(plan.num_samples):,.1f}",
        )
    return table


def _run(plan: Plan) -> Table:
    batch, needs = plan.batch, plan.needs
    table = _table("run", "", "")
    table.show_header = False
    table.add_row(
        "global batch",
        f"{batch.global_size} = {batch.per_device} per worker x {batch.accumulation} accumulated x "
        f"{batch.num_workers} workers" + ("; a trial chooses, see --batch" if plan.is_batch_tried else ""),
    )
    table.add_row(
        "steps", f"{plan.max_steps:,} of {batch.global_size} samples; {plan.steps_per_epoch:,.1f} see all data once"
    )
    table.add_row(
        "memory of loaders",
        f"{needs.loaders / GB:.1f} GB = {needs.num_loaders} x {needs.per_loader / GB:.2f} GB",
    )
    table.add_row(
        "memory of workers",
        f"{needs.loading / GB:.1f} GB = {needs.num_workers} x {needs.per_worker[0] / GB:.2f} GB, to load the model",
    )
    table.add_row(
        "shared memory",
        f"{needs.shared_memory / GB:.2f} GB = {needs.num_batches} batches x {needs.per_batch / GB:.3f} GB",
    )
    table.add_row(
        "disk for checkpoints",
        _disk(needs),
    )
    return table


def _disk(needs: Needs) -> str:
    if needs.older_checkpoint == needs.checkpoint:
        parts = f"{needs.num_checkpoints} x {needs.checkpoint / GB:,.2f} GB"
    else:
        num_whole = needs.num_checkpoints - needs.num_older
        parts = (
            f"{num_whole} x {needs.checkpoint / GB:,.2f} GB + {needs.num_older} x {needs.older_checkpoint / GB:,.2f} GB"
        )
    return f"{needs.disk / GB:,.1f} GB = {parts}, one being written"


def _guides(plan: Plan) -> Table:
    names = ("hardware", "batch|", "GPU memory, formula|", "guide|", "5000 steps, formula|", "guide|")
    table = _table("GPU memory and time, unmeasured", *names)
    if plan.needs.per_gpu is not None:
        seconds = plan.seconds * GUIDE_STEPS / plan.max_steps
        memory = f"{plan.needs.per_gpu[1] / GB:.0f} GB"
        table.add_row("this run", str(plan.batch.global_size), memory, "", _hours(seconds), "", style="bold")
    for row in GUIDE_ROWS:
        # Above one GPU GR00T's default is DeepSpeed's stage 2.
        sharing = Sharing(row.num_gpus, 2 if row.num_gpus > 1 else 0)
        seconds = training_seconds(GUIDE_STEPS * row.global_batch, num_gpus=row.num_gpus)
        formula = _gpu_memory(plan.model, sharing, row.global_batch // row.num_gpus)
        table.add_row(row.hardware, str(row.global_batch), formula, row.gpu_memory, _hours(seconds), row.time_5k_steps)
    return table


def _gpu_memory(model: ModelSize | None, sharing: Sharing, per_device_batch: int) -> str:
    return "" if model is None else f"{gpu_bytes(model, sharing, per_device_batch=per_device_batch) / GB:.0f} GB"


def _formulas(console: Console) -> None:
    lines = (
        "GPU memory: 16 bytes a trained parameter (weight, gradient, AdamW), 2 a frozen one of the backbone, 4 of the "
        "head; with DDP 4 more a trained one; with DeepSpeed 2 each, and 14 a trained one shared by all; "
        f"{ACTIVATION_BYTES / GB:.2f} GB a sample, which makes the guide's first row.",
        f"time: {GPU_SAMPLES_PER_SECOND:.0f} samples a second and GPU, the guide's first row; loading not counted.",
        f"memory of a loader: {FORKED_LOADER_BYTES / GB:.2f} GB of its own and two shards of processed samples, with "
        f"--stock-loader also the frames of an episode; of a worker: {WORKER_BYTES / GB:.2f} GB, "
        f"{SERVER_BYTES / GB:.2f} GB of the process that loaders are forked from, and the weights while it loads them.",
    )
    for line in lines:
        console.print(Text(line, style="dim"))


def _table(title: str, *columns: str) -> Table:
    """A column whose name ends in "|" is right-aligned."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name.removesuffix("|"), justify="right" if name.endswith("|") else "left", overflow="fold")
    return table


def _millions(count: int) -> str:
    return f"{count / MILLION:,.1f} M" if count >= MILLION else f"{count:,}"


def _hours(seconds: float) -> str:
    return str(timedelta(minutes=round(seconds / 60)))[:-3] + " h"
