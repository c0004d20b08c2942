"""`millrace evaluate`."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from tyro.conf import arg

from millrace.commands.json_stdout import STDOUT, keep_stdout, prints_json
from millrace.commands.progress import show_stages
from millrace.commands.tables import make_console, print_line, safe
from millrace.embodiments import Remedy, Setting
from millrace.engine.sources.selection import parse_selection
from millrace.engine.text import format_count, printable
from millrace.train.checkpoint import list_checkpoints
from millrace.train.errors import SettingsError
from millrace.train.evaluate_settings import EvaluateFlags, EvaluateSettings, ServerAddress
from millrace.train.flag_types import Bare, Flag, option
from millrace.train.training_dataset import TrainingDataset

if TYPE_CHECKING:  # which import ray
    from millrace.train.evaluate_settings import Contender
    from millrace.train.open_loop import Trace
    from millrace.train.plots import PlotFolder
    from millrace.train.scores import Evaluation, Score


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluateFlags):
    """Score checkpoints on held-out episodes, open loop: predicted actions against recorded ones.

    A low error does not prove that a robot would succeed; a high one, or one above that of holding still, shows that
    something is wrong. Examples:

    millrace evaluate checkpoints/aloha/checkpoint-5000 out/aloha_gr1_heldout --plots plots

    millrace evaluate checkpoints/aloha out/aloha_gr1_heldout --num-gpus 4 --json evaluation.json

    millrace evaluate out/aloha_gr1_heldout --server 127.0.0.1:5555 --json
    """

    paths: Annotated[tuple[str, ...], tyro.conf.Positional, arg(metavar="[CHECKPOINT ...] DATASET")]
    """Checkpoints, or a run's folder for all that it has, and last the folder of a GR00T dataset."""
    server: Annotated[str | None, option("HOST:PORT")] = None
    """Score the model in a running GR00T server instead."""
    episodes: Annotated[str | None, option("A:B|LIST")] = None
    """Some episodes only: 0:10, the same as 0-9; -3: for the last three; or a list such as 0,3,10:20."""
    json: Annotated[Path | None, option("[FILE]"), Bare(str(STDOUT))] = None
    """Write all errors, by checkpoint, episode and joint group, to a file; without FILE, or with -, print them as JSON
    in place of the table, and an error, too."""
    plots: Annotated[Path | None, option("FOLDER")] = None
    """Draw a PNG of each episode."""
    debug: Flag = False
    """Show tracebacks."""

    when_stopped = "stopped"

    def run(self) -> int:
        """Evaluate, print, and write the files that the flags name."""
        with keep_stdout(prints_json(self)) as stdout:
            evaluation = self._evaluate()
            if self.json is not None:
                written = evaluation.model_dump_json(indent=2) + "\n"
                if self.json == STDOUT:
                    stdout.write(written)
                    return 0
                self.json.parent.mkdir(parents=True, exist_ok=True)
                self.json.write_text(written, encoding="utf-8")
        print_evaluation(evaluation, make_console())
        return 0

    def _evaluate(self) -> "Evaluation":
        settings = self.settings()
        named = (path for name in settings.checkpoints for path in list_checkpoints(Path(name)))
        settings = replace(settings, checkpoints=tuple(map(str, named)))
        plots = self._plots(settings.dataset)
        from millrace.train.groot import open_policy
        from millrace.train.installed import require_groot

        require_groot(settings.gr00t)
        from millrace.train.evaluate import evaluate, read_contenders
        from millrace.train.preflight.evaluation import check_backbone

        found, notes = read_contenders(settings)
        for checkpoint in settings.checkpoints if settings.address is None else ():
            check_backbone(checkpoint)
        for note in notes:
            print(printable(f"warning: {note}"), file=sys.stderr)
        with self._quiet() as terminal, show_stages(Console(file=terminal)) as on_progress:

            def on_done(contender: "Contender", trace: "Trace", num_done: int, num_all: int) -> None:
                if plots is not None:
                    plots.draw(contender.name, trace)
                on_progress("episodes", num_done, num_all)

            def on_waiting(what: str) -> None:
                print(printable(f"waiting for {what}"), file=terminal, flush=True)

            return evaluate(settings, found, open_policy, on_trace=on_done, on_waiting=on_waiting)

    def settings(self) -> EvaluateSettings:
        """The flags as settings, with all paths absolute; folders of runs are not searched yet.

        Raises:
            SettingsError: a flag contradicts another, or its value means nothing.
        """
        if not self.paths:
            raise SettingsError("evaluate takes CHECKPOINT ... DATASET, or --server HOST:PORT and DATASET")
        if self.json is not None and self.json.is_dir():
            advice = Remedy("name it last, or pass ", Setting("json", str(STDOUT)), " to print JSON")
            raise SettingsError(f"--json takes a file, and {self.json} is a folder: ", advice, got=str(self.json))
        *named, dataset = self.paths
        try:
            episodes = parse_selection(self.episodes) if self.episodes else []
        except ValueError as error:
            raise SettingsError(f"--episodes: {error}") from error
        flags = {field.name: getattr(self, field.name) for field in fields(EvaluateFlags)}
        server = ServerAddress.parse(self.server) if self.server else None
        settings = EvaluateSettings(
            dataset=Path(dataset), checkpoints=tuple(named), server=server, episodes=tuple(episodes), **flags
        )
        return settings.absolute()

    @contextmanager
    def _quiet(self) -> Iterator[TextIO]:
        """Discard what libraries print on standard error while they load a model, unless --debug is given."""
        from millrace.train.worker import redirect_output

        quiet = nullcontext() if self.debug else redirect_output(Path(os.devnull))
        with os.fdopen(os.dup(2), "w", encoding="utf-8") as terminal, quiet:
            yield terminal

    def _plots(self, dataset: Path) -> "PlotFolder | None":
        if self.plots is None:
            return None
        from millrace.train.plots import PlotFolder

        return PlotFolder(self.plots, TrainingDataset.open(dataset))


def print_evaluation(evaluation: "Evaluation", console: Console) -> None:
    """Print the best checkpoint's errors by joint group, and all checkpoints where there are several."""
    best = next(one for one in evaluation.checkpoints if one.checkpoint == evaluation.best)
    num_steps = sum(episode.num_steps for episode in best.episodes)
    if len(evaluation.checkpoints) > 1:
        names = (_short(one.checkpoint) for one in evaluation.checkpoints)
        console.print(_table("checkpoint", zip(names, (one.total for one in evaluation.checkpoints), strict=True)))
        print_line(f"best: {best.checkpoint}", console)
        if evaluation.no_difference:
            alike = ", ".join(map(_short, evaluation.no_difference))
            episodes = format_count(len(best.episodes), "episode")
            print_line(f"no significant difference over {episodes}: {alike}", console)
    else:
        print_line(best.checkpoint, console)
    console.print(_table("action", [*best.groups.items(), ("all", best.total)]))
    of = f"{format_count(len(best.episodes), 'episode')}, {num_steps} steps, {evaluation.horizon} of each chunk"
    print_line(f"{of}; units of the data, squared for MSE", console)
    if evaluation.ranges_of is not None:
        told = "error: root mean square, as a share of each joint's range in the statistics of"
        print_line(f"{told} {_short(evaluation.ranges_of)}; joints that never move left out", console)
    share = best.total.against_hold
    if share is not None and share >= 1:
        print_line("warning: no better than holding still", console)


def _table(title: str, rows: "Iterable[tuple[str, Score]]") -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column(title, no_wrap=True, overflow="fold")
    for name in ("error", "MSE", "MAE", "MSE holding still", "MAE holding still"):
        table.add_column(name, justify="right")
    for name, score in rows:
        numbers = map(_number, (score.mse, score.mae, score.hold_mse, score.hold_mae))
        table.add_row(safe(name), "" if score.range_error is None else f"{score.range_error:.2%}", *numbers)
    return table


def _short(checkpoint: str) -> str:
    """The run's folder and the checkpoint's."""
    return "/".join(Path(checkpoint).parts[-2:])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
