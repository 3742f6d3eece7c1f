"""The options of a reproduction; imports no TensorFlow."""

from __future__ import annotations

import dataclasses

from tfdm.fields import CheckedConfig, folder, setting
from tfdm.reproduction.artifacts import ARTIFACTS
from tfdm.reproduction.scales import SCALES


@dataclasses.dataclass(frozen=True)
class ReproduceConfig(CheckedConfig):
    """What is reproduced, at which scale, and where it goes."""

    artifact: tuple[str, ...] = setting(
        ("all",),
        "tables and figures of the paper",
        choices=("all", *ARTIFACTS),
        metavar="table1|figure1|all",
    )
    scale: str = setting(
        "smoke",
        "smoke: every code path in minutes; reduced: days on two cores; paper: the paper's steps",
        choices=tuple(SCALES),
    )
    dry_run: bool = setting(False, "show what would be trained, with times, and train nothing")
    output_dir: str | None = folder(
        "where runs, tables and figures go; what stands there is used again",
        "runs/reproduction-SCALE",
    )
    results_dir: str | None = folder("where finished tables and figures are copied to")
    data_dir: str | None = folder("where data sets are read from", "$TFDS_DATA_DIR or TFDS's own")
    cache_dir: str | None = folder("where prepared data sets are kept")

    @property
    def artifacts(self) -> tuple[str, ...]:
        """The names of the tables and figures, in the order of the paper's numbers."""
        return tuple(ARTIFACTS) if "all" in self.artifact else tuple(dict.fromkeys(self.artifact))

    @property
    def folder(self) -> str:
        """The folder of the reproduction."""
        return self.output_dir or f"runs/reproduction-{self.scale}"
