"""One call for every table and figure: what is missing is trained, what stands is used again."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdm.errors import DivergedError, UserError
from tfdm.reproduction.artifacts import ARTIFACTS, Artifact
from tfdm.reproduction.config import ReproduceConfig
from tfdm.reproduction.page import cells_with_values, command_of, page, section, values_of
from tfdm.reproduction.scales import SCALES
from tfdm.reproduction.work import Training, Work, Workspace
from tfdm.runs.atomic import atomic_write_bytes, atomic_write_json, atomic_write_text
from tfdm.runs.provenance import git_revision, versions
from tfdm.runs.results import locked, read_json

_logger = logging.getLogger("tfdm")

PAGE_NAME = "README.md"
_STEPS_NAME = "seconds_a_step.json"
# Steps behind the measured time of one; the first, which is traced, does not count.
_MEASURED_STEPS = 6


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """What stands of the artifacts that were asked for.

    Attributes:
      artifacts: their names.
      problems: why a piece of work could not be done, by its name.
      page: the page of all artifacts in the folder, as Markdown; of a dry run the plan.
      path: where the page stands, `None` of a dry run.
    """

    artifacts: tuple[str, ...]
    problems: dict[str, str]
    page: str
    path: Path | None


def reproduce(
    config: ReproduceConfig | None = None, *, progress: bool = True, **options: Any
) -> Reproduction:
    """Makes tables and figures of the paper, each with the paper's values beside ours.

    Runs, estimates and evaluations that several artifacts need are made once. What cannot be made,
    such as the rows of a data set that is missing, stays open with its reason, and the rest is
    made. A call that was stopped is resumed by the same call.

    Args:
      config: the options, see `ReproduceConfig`.
      progress: whether bars are shown.
      **options: fields that replace those of `config`.

    Raises:
      UserError: the folder is in use or cannot be written.
      ValueError: an option is not admissible.
      Terminated: SIGTERM or SIGINT stopped a piece of work, whose state was written.
    """
    config = ReproduceConfig.of(config, **options)
    workspace = Workspace(
        Path(config.folder).expanduser(),
        SCALES[config.scale],
        config.data_dir,
        config.cache_dir,
        progress,
    )
    chosen = [ARTIFACTS[name] for name in config.artifacts]
    with locked(workspace.folder):
        if config.dry_run:
            return Reproduction(config.artifacts, {}, _plan(chosen, workspace), None)
        problems: dict[str, str] = {}
        for artifact in chosen:
            _complete(artifact, workspace, problems)
            _write(artifact, workspace, problems)
            text = _write_page(workspace)
        if config.results_dir is not None:
            _publish(workspace.folder, Path(config.results_dir).expanduser())
    return Reproduction(config.artifacts, problems, text, workspace.folder / PAGE_NAME)


def _complete(artifact: Artifact, workspace: Workspace, problems: dict[str, str]) -> None:
    """Does what is missing of an artifact; what cannot be done goes into `problems`."""
    for work in artifact.works:
        if work.name in problems or work.result(workspace) is not None:
            continue
        missing = [needed.name for needed in work.needs if needed.result(workspace) is None]
        if missing:
            problems[work.name] = f"needs {missing[0]}"
            continue
        _logger.info("%s: %s", artifact.name, work.name)
        try:
            work.do(workspace)
        except (UserError, DivergedError) as error:
            problems[work.name] = " ".join(str(error).split())
            _logger.warning("%s stays open: %s", work.name, problems[work.name])


def _write(artifact: Artifact, workspace: Workspace, problems: dict[str, str]) -> None:
    """Writes an artifact's numbers, pictures and section, if what it shows has changed."""
    folder = workspace.folder
    path = folder / f"{artifact.name}.json"
    complete = [work.name for work in artifact.works if work.result(workspace) is not None]
    left = {w.name: problems.get(w.name, "") for w in artifact.works if w.name not in complete}
    record = {
        "artifact": artifact.name,
        "title": artifact.title,
        "scale": workspace.scale.name,
        "command": command_of(artifact, workspace),
        "seed": 0,
        "unit": artifact.unit,
        "values": values_of(artifact, workspace),
        "complete": complete,
        "open": left,
    }
    standing = read_json(path) if path.is_file() else {}
    if all(standing.get(key) == value for key, value in record.items()):
        return
    files = []
    for picture in artifact.pictures:
        drawn = picture.draw(workspace)
        if drawn is not None:
            files.append(f"{artifact.name}-{picture.name}.png")
            atomic_write_bytes(folder / files[-1], drawn)
    text = section(artifact, workspace, files, problems)
    atomic_write_text(folder / f"{artifact.name}.md", text)
    software = {"versions": versions(), "git_revision": git_revision()}
    atomic_write_json(path, {**record, "pictures": files, **software})


def _write_page(workspace: Workspace) -> str:
    """Writes the page of all artifacts that stand in the folder."""
    folder = workspace.folder
    texts = [folder / f"{name}.md" for name in ARTIFACTS]
    sections = [path.read_text(encoding="utf-8") for path in texts if path.is_file()]
    named = ", ".join(f"{name} {version}" for name, version in versions().items())
    software = f"Revision {git_revision() or 'unknown'}; {named}."
    text = page(sections, workspace.scale.name, software)
    atomic_write_text(folder / PAGE_NAME, text)
    return text


def _publish(folder: Path, results: Path) -> None:
    """Copies the page, the numbers and the pictures, but no runs."""
    with locked(results):
        for path in sorted(folder.iterdir()):
            if path.suffix in (".md", ".json", ".png") and path.name != _STEPS_NAME:
                shutil.copyfile(path, results / path.name)


def _plan(artifacts: Sequence[Artifact], workspace: Workspace) -> str:
    """Returns what is complete and what is not, with the time that the trainings will take."""
    lines = []
    total, seen = 0.0, set()
    for artifact in artifacts:
        done = cells_with_values(artifact.cells, workspace)
        numbers = f", {done} of {len(artifact.cells)} numbers" if artifact.cells else ""
        lines += ["", f"{artifact.name}: {artifact.title}{numbers}"]
        for work in artifact.works:
            state, seconds = _state(work, workspace, work.name in seen)
            total += seconds
            seen.add(work.name)
            lines.append(f"  {work.name}: {state}")
    hours = total / 3600
    lines += ["", f"Trainings take about {hours:.1f} h; estimates and evaluations come on top."]
    return "\n".join(lines[1:])


def _state(work: Work, workspace: Workspace, is_listed: bool) -> tuple[str, float]:
    """Returns the state of a piece of work in words, and the seconds of training it needs."""
    if work.result(workspace) is not None:
        return "complete", 0.0
    if is_listed:
        return "listed above", 0.0
    if not isinstance(work, Training):
        return "to do", 0.0
    steps = work.config(workspace).steps
    try:
        seconds = steps * _seconds_a_step(work, workspace)
    except UserError as error:
        return f"open: {error}", 0.0
    return f"{steps:,} steps, about {_duration(seconds)}", seconds


def _seconds_a_step(work: Training, workspace: Workspace) -> float:
    """Returns the time of one training step on this machine, measured once for a folder."""
    from tfdm.experiments.train import train_run

    path = workspace.folder / _STEPS_NAME
    known = read_json(path) if path.is_file() else {}
    # What a step costs hangs on the networks, hardly on the latents.
    key = f"{work.model}-{work.dataset}"
    if key not in known:
        _logger.info("measuring a step of %s", key)
        with tempfile.TemporaryDirectory() as folder:
            config = dataclasses.replace(
                work.config(workspace),
                steps=_MEASURED_STEPS,
                output_dir=str(Path(folder) / "run"),
            )
            rate = train_run(config, progress=False).steps_per_second
        known[key] = 1.0 / rate if rate else 0.0
        atomic_write_json(path, known)
    return known[key]


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
