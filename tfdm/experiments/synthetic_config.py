"""The options of the synthetic Gaussians; without TensorFlow."""

from __future__ import annotations

import dataclasses

from tfdm.estimators.config import SETTINGS, SyntheticConfig
from tfdm.fields import folder, setting


@dataclasses.dataclass(frozen=True)
class SyntheticGaussiansConfig(SyntheticConfig):
    """What is run, how, and where results go."""

    dims: tuple[int, ...] = setting(
        (1, 10, 100), "dimensions d of the Gaussians", minimum=1, maximum=5000
    )
    settings: tuple[str, ...] = setting(
        SETTINGS,
        "estimation: both Gaussians fixed; learning: one follows the other",
        choices=SETTINGS,
    )
    output_dir: str | None = folder(
        "where results go; a folder with the same experiment is resumed", "runs/synthetic_gaussians"
    )

    @property
    def experiment(self) -> SyntheticConfig:
        """The fields that decide the numbers of one dimension and setting."""
        names = [field.name for field in dataclasses.fields(SyntheticConfig)]
        return SyntheticConfig(**{name: getattr(self, name) for name in names})
