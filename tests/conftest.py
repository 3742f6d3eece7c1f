"""What all tests share: devices, seeds, the cache folder, and a guard on global state."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Read by TensorFlow when it is imported; subprocesses of the tests inherit it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# What `get_seed` answers for the global seed when none was set.
_TENSORFLOW_WITHOUT_SEED = 87654321

_CACHE_FOLDER: str | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed",
        type=int,
        default=0,
        help="varies the seeds of the stochastic tests (fixtures `seed` and `rng`); default 0",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Gives the session its own cache folder and TensorFlow two CPU devices."""
    is_worker = hasattr(config, "workerinput")
    if not is_worker:
        # One folder for the session, inherited by the workers of xdist: a data set is prepared
        # once, and never in the user's cache.
        global _CACHE_FOLDER
        _CACHE_FOLDER = tempfile.mkdtemp(prefix="tfdm-tests-")
        os.environ["TFDM_CACHE_DIR"] = _CACHE_FOLDER
    distributes = bool(getattr(config.option, "numprocesses", None))
    if is_worker or not distributes:
        _configure_tensorflow(is_worker)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _CACHE_FOLDER is not None:
        shutil.rmtree(_CACHE_FOLDER, ignore_errors=True)


def _configure_tensorflow(is_worker: bool) -> None:
    """Before TensorFlow initialises: two logical CPU devices for the tests of strategies."""
    import tensorflow as tf

    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    if is_worker:
        # The workers share the cores.
        tf.config.threading.set_intra_op_parallelism_threads(1)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed of the test's own, fixed unless `--seed` varies it."""
    name = zlib.crc32(request.node.nodeid.encode())
    entropy = [request.config.getoption("--seed"), name]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A NumPy generator seeded with the test's `seed`."""
    return np.random.default_rng(seed)


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    """Twenty grey images of random bytes, [20, 28, 28, 1]."""
    return rng.integers(0, 256, [20, 28, 28, 1], dtype=np.uint8)


@pytest.fixture
def file(tmp_path: Path, images: np.ndarray) -> Path:
    """The images in an archive."""
    np.savez(tmp_path / "mine.npz", images=images)
    return tmp_path / "mine.npz"


@pytest.fixture
def error_line(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """The one line of error that a command wrote, apart from its progress."""

    def read() -> str:
        [line] = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        return line

    return read


def _global_state() -> dict[str, tuple[Callable[[], Any], Callable[[Any], None]]]:
    """What no test may leave changed: by name, how it is read and how it is put back."""
    import keras
    import tensorflow as tf

    def tensorflow_seed() -> int | None:
        seed = tf.compat.v1.random.get_seed(0)[0]
        return None if seed == _TENSORFLOW_WITHOUT_SEED else seed

    return {
        "the state of `random`": (random.getstate, random.setstate),
        "the state of `numpy.random`": (
            # Without its array, so that two states can be compared.
            lambda: [
                part if np.isscalar(part) else part.tolist() for part in np.random.get_state()
            ],
            lambda state: np.random.set_state(tuple(state)),
        ),
        "the seed of `tf.random`": (tensorflow_seed, tf.random.set_seed),
        "the eager mode of `tf.function`": (
            tf.config.functions_run_eagerly,
            tf.config.run_functions_eagerly,
        ),
        "the dtype policy of Keras": (
            lambda: keras.config.dtype_policy().name,
            keras.config.set_dtype_policy,
        ),
        "the floatx of Keras": (keras.config.floatx, keras.config.set_floatx),
        "the image data format of Keras": (
            keras.config.image_data_format,
            keras.config.set_image_data_format,
        ),
        "the working directory": (os.getcwd, os.chdir),
        "the names in the working directory": (
            lambda: sorted(name for name in os.listdir() if name[0] not in "._"),
            lambda names: None,  # what a test leaves there stays to be seen
        ),
    }


@pytest.fixture(autouse=True)
def global_state_guard() -> Iterator[None]:
    """Fails a test after which global state is not what it was, and puts the state back."""
    accessors = _global_state()
    before = {name: read() for name, (read, _) in accessors.items()}
    yield
    changed = [name for name, (read, _) in accessors.items() if read() != before[name]]
    for name in changed:
        accessors[name][1](before[name])
    if changed:
        pytest.fail(f"the test left changed: {', '.join(changed)}")
