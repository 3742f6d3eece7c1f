"""The pictures of the reproduction, each drawn from the results of pieces of work.

A picture is drawn as soon as one of its pieces is complete; what is missing is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import PIL.Image

from tfdm.estimators.synthetic_plots import plot_synthetic
from tfdm.estimators.tables import plot_estimates
from tfdm.eval.records import read_evaluation
from tfdm.eval.tables import plot_comparison
from tfdm.experiments.pages import read_curves
from tfdm.models.registry import find_model
from tfdm.pictures import figure_png, new_figure
from tfdm.reproduction.work import (
    Evaluation,
    Gaussians,
    KLEstimate,
    Sweep,
    Training,
    Work,
    Workspace,
)
from tfdm.runs import RunFolder

_SHEET_COLUMNS = 3


class Picture(Protocol):
    """A picture of an artifact."""

    @property
    def name(self) -> str:
        """What ends the name of its file."""
        ...

    @property
    def works(self) -> tuple[Work, ...]:
        """The pieces of work that it shows."""
        ...

    def draw(self, workspace: Workspace) -> bytes | None:
        """Returns a PNG, `None` where nothing that it shows is complete."""
        ...


@dataclasses.dataclass(frozen=True)
class Bars:
    """Estimates of one run beside its bounds (Figures 1 and 6)."""

    name: str
    title: str
    works: tuple[KLEstimate, ...]

    def draw(self, workspace: Workspace) -> bytes | None:
        """Draws the estimates that are complete."""
        keys = [work.key for work in self.works if work.result(workspace) is not None]
        content = self.works[0].content(workspace)
        if content is None or not keys:
            return None
        estimates = {key: content["estimates"][key] for key in keys}
        return plot_estimates({**content, "estimates": estimates}, self.title)


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The last grids of several runs side by side (Figures 7 and 12 to 17).

    `grids` is "samples" or "reconstructions"; `captions` name the runs.
    """

    name: str
    grids: str
    works: tuple[Training, ...]
    captions: tuple[str, ...] = ()

    def draw(self, workspace: Workspace) -> bytes | None:
        """Draws the grid of every run that is complete."""
        shown: dict[str, np.ndarray] = {}
        captions = self.captions or tuple(work.model for work in self.works)
        for caption, work in zip(captions, self.works, strict=True):
            path = RunFolder(workspace.run_folder(work)).last_grid(self.grids)
            if path is not None and work.result(workspace) is not None:
                with PIL.Image.open(path, formats=["PNG"]) as grid:
                    shown[caption] = np.asarray(grid.convert("RGB"))
        if not shown:
            return None
        columns = min(_SHEET_COLUMNS, len(shown))
        rows = -(-len(shown) // columns)
        figure = new_figure(3.6 * columns, 3.9 * rows)
        for index, (caption, image) in enumerate(shown.items()):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.imshow(image, interpolation="nearest")
            axes.set_title(caption, fontsize=9)
            axes.set_axis_off()
        return figure_png(figure, dpi=150)


@dataclasses.dataclass(frozen=True)
class Curves:
    """A logged term of several runs over training, one panel each (Figure 11)."""

    name: str
    works: tuple[Training, ...]
    terms: tuple[tuple[str, float], ...]  # name and sign by run

    def draw(self, workspace: Workspace) -> bytes | None:
        """Draws the curves of the runs that are complete."""
        figure = new_figure(4.5 * len(self.works), 3.2)
        drawn = False
        for index, (work, (term, sign)) in enumerate(zip(self.works, self.terms, strict=True)):
            axes = figure.add_subplot(1, len(self.works), index + 1)
            axes.set_title(f"{work.model}: {'− ' if sign < 0 else ''}{term}, nats", fontsize=9)
            axes.set_xlabel("step", fontsize=8)
            axes.tick_params(labelsize=7)
            if work.result(workspace) is not None:
                path = RunFolder(workspace.run_folder(work)).metrics_path
                curve = read_curves(path)[term]
                axes.plot(curve["step"], sign * np.array(curve["value"]), linewidth=0.9)
                drawn = True
        return figure_png(figure) if drawn else None


@dataclasses.dataclass(frozen=True)
class Divergences:
    """The synthetic Gaussians while one learns to be the other (Figures 2, 8, 9 and 10)."""

    name: str
    title: str
    works: tuple[Gaussians, ...]

    def draw(self, workspace: Workspace) -> bytes | None:
        """Draws the setting "learning" with the estimate of "estimation" as a line."""
        results = self.works[0].records(workspace)
        return None if results is None else plot_synthetic(results, "learning", self.title)


@dataclasses.dataclass(frozen=True)
class Boxes:
    """A metric of several models: boxes over the trials of a sweep, dots at the best.

    The ordinary runs count as one more trial; test images are lines (Figures 4 and 5).
    """

    name: str
    title: str
    metric: str
    works: tuple[Evaluation | Sweep, ...]

    def draw(self, workspace: Workspace) -> bytes | None:
        """Draws the trials and runs that have been evaluated."""
        contents: dict[str, Mapping[str, Any]] = {}
        for work in self.works:
            record = work.result(workspace)
            if record is None:
                continue
            if isinstance(work, Evaluation):
                contents[work.title] = self._only(read_evaluation(work.folder(workspace)))
                continue
            for trial in record["trials"]:
                folder = work.folder(workspace) / trial["folder"]
                if trial["status"] == "done":
                    contents[trial["folder"]] = self._only(read_evaluation(folder))
        return plot_comparison(contents, self.title) if contents else None

    def _only(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The evaluation with this metric alone."""
        metrics = content["metrics"]
        keys = [key for key in metrics if key.partition(":")[0] == self.metric]
        return {**content, "metrics": {key: metrics[key] for key in keys}}


@dataclasses.dataclass(frozen=True)
class Diagram:
    """The networks of every model and the players that move them (Figure 3)."""

    name: str
    models: tuple[str, ...]

    @property
    def works(self) -> tuple[Work, ...]:
        """Nothing: the diagram is drawn from the models themselves."""
        return ()

    def draw(self, workspace: Workspace) -> bytes | None:
        """Builds each model at a small width and draws a panel from its list of players."""
        del workspace
        rows = -(-len(self.models) // _SHEET_COLUMNS)
        figure = new_figure(4.2 * _SHEET_COLUMNS, 2.4 * rows)
        for index, name in enumerate(self.models):
            model = find_model(name).load()(width=1 / 16, image_shape=(28, 28, 3))
            moves = {
                player.name: [n.name for n in player.networks if n.trainable_variables]
                for player in model.players
            }
            axes = figure.add_subplot(rows, _SHEET_COLUMNS, index + 1)
            _draw_players(axes, f"{name}: players, and the networks they move", moves)
        return figure_png(figure, dpi=130)


def _draw_players(axes: Any, title: str, moves: Mapping[str, Sequence[str]]) -> None:
    """Draws players on the left, networks on the right, and arrows between them."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_title(title, fontsize=8)
    places = {}
    networks = dict.fromkeys(name for names in moves.values() for name in names)
    for x, side, color, names in (
        (0.4, "right", "#cce0f0", list(moves)),
        (0.6, "left", "#e4f0d8", list(networks)),
    ):
        box = {"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": "#555555"}
        for index, name in enumerate(names):
            y = 1.0 - (index + 0.5) / len(names)
            places[side, name] = (x, y)
            shown = name.replace("_", " ")
            axes.text(x, y, shown, ha=side, va="center", fontsize=7.5, bbox=box)
    for player, moved in moves.items():
        for name in moved:
            (x, y), (end_x, end_y) = places["right", player], places["left", name]
            arrow = {"arrowstyle": "->", "color": "#555555"}
            axes.annotate("", (end_x - 0.02, end_y), (x + 0.02, y), arrowprops=arrow)
