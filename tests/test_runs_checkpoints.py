"""The checkpoint store: bit-exact round trips, damage found, non-finite states refused."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path

import numpy as np
import pytest

from tfdm.runs import CheckpointStore, NonFiniteError

DTYPES = [
    np.bool_,
    *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    *(np.float16, np.float32, np.float64, np.complex64),
]


def _state(step: int) -> dict[str, np.ndarray]:
    """A small state that is another one at every step."""
    rng = np.random.default_rng(step)
    return {"generator/kernel": rng.normal(size=(5, 7)).astype(np.float32), "step": np.int64(step)}


def _assert_same(read: dict[str, np.ndarray], saved: dict[str, np.ndarray]) -> None:
    assert sorted(read) == sorted(saved)
    for name, array in saved.items():
        array = np.asarray(array)
        assert read[name].dtype == array.dtype, name
        assert read[name].shape == array.shape, name
        assert read[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_every_type_and_shape_comes_back_bit_for_bit(
    tmp_path: Path, rng: np.random.Generator, dtype: type, shape: tuple[int, ...]
) -> None:
    array = np.asarray(rng.integers(0, 2, shape) if dtype == np.bool_ else rng.uniform(0, 7, shape))
    saved = {"a": array.astype(dtype)}
    store = CheckpointStore(tmp_path / "checkpoints")
    path = store.save(7, saved)
    checkpoint = store.latest()
    assert (checkpoint.step, checkpoint.path) == (7, path)
    _assert_same(checkpoint.arrays, saved)


def test_extreme_values_and_layouts_come_back(tmp_path: Path, rng: np.random.Generator) -> None:
    matrix = rng.normal(size=(4, 6))
    saved = {
        "limits": np.array([np.finfo(np.float32).max, np.finfo(np.float32).tiny, -0.0], np.float32),
        "subnormal": np.array([5e-324]),
        "int64": np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max]),
        "fortran": np.asfortranarray(matrix),
        "strided": matrix[::2, ::-3],
        "file": np.arange(3),  # a name that numpy.savez would not take
        "optimizer/with spaces/β_1": np.float64(0.5),
    }
    store = CheckpointStore(tmp_path)
    store.save(0, saved)
    _assert_same(store.latest().arrays, saved)


def test_an_empty_or_missing_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "missing").latest() is None
    assert CheckpointStore(tmp_path).latest() is None
    assert CheckpointStore(tmp_path).steps() == []


def test_the_newest_ones_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in (5, 10, 100_000_000, 100_000_005):
        store.save(step, _state(step))
        checkpoint = store.latest()
        assert checkpoint.step == step
        _assert_same(checkpoint.arrays, _state(step))
    assert store.steps() == [100_000_005, 100_000_000]
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ValueError, match="keep is 0"):
        CheckpointStore(tmp_path, keep=0)


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, _state(1))
    store.save(1, _state(2))
    store.save(1, _state(2))
    assert store.steps() == [1]
    _assert_same(store.latest().arrays, _state(2))


def test_going_on_from_an_earlier_state_removes_the_later_ones(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    store.save(10, _state(10)).write_bytes(b"damaged")
    store.save(5, _state(5))
    assert store.steps() == [5]
    assert store.latest().step == 5


def test_a_damaged_newest_one_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, _state(1))
    newest = store.save(2, _state(2))
    whole = newest.read_bytes()
    lengths = (0, 1, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1)
    damaged = [*(whole[:length] for length in lengths), whole + b"\x00"]
    for position in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        damaged.append(bytes(flipped))
    for content in damaged:
        caplog.clear()
        newest.write_bytes(content)
        checkpoint = store.latest()
        assert checkpoint.step == 1
        _assert_same(checkpoint.arrays, _state(1))
        [record] = caplog.records
        assert (record.name, record.levelno) == ("tfdm", logging.WARNING)
        assert newest.name in record.getMessage()
    newest.write_bytes(whole)
    assert store.latest().step == 2


def test_files_without_arrays_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, _state(1))
    store.save(2, _state(2)).rename(tmp_path / "step_00000002.npz")
    assert store.latest().step == 1
    assert "step_00000002.npz" in caplog.text
    caplog.clear()
    objects = io.BytesIO()  # never unpickled
    np.savez(objects, a=np.array([{"code": 1}], dtype=object), allow_pickle=True)
    contents = [b"", b"text", b"PK\x03\x04" + bytes(60), objects.getvalue()]
    for step, content in enumerate(contents, start=3):
        digest = hashlib.sha256(content).hexdigest()
        (tmp_path / f"step_{step:08d}-{digest}.npz").write_bytes(content)
    assert store.latest().step == 1
    assert len(caplog.records) == 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
def test_a_state_that_is_not_finite_is_refused_before_writing(
    tmp_path: Path, dtype: type, value: float
) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=1)
    good = store.save(1, _state(1))
    bad = np.zeros((3, 3), dtype)
    bad[1, 2] = value
    with pytest.raises(NonFiniteError, match="critic/bias") as raised:
        store.save(2, {**_state(2), "critic/bias": bad})
    assert raised.value.name == "critic/bias"
    assert list(good.parent.iterdir()) == [good]


def test_what_a_checkpoint_cannot_hold_is_refused_before_writing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    arrays = {"text": np.array(["a"]), "objects": np.array([None])}
    arrays |= dict.fromkeys(["", "a.npy", "__foreign_types__"], np.zeros(1))
    for name, array in arrays.items():
        with pytest.raises(ValueError, match="expected"):
            store.save(1, {name: array})
    with pytest.raises(ValueError, match="step is -1"):
        store.save(-1, _state(1))
    assert not (tmp_path / "checkpoints").exists()


def test_a_failed_write_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    good = store.save(1, _state(1))

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(2, _state(2))
    assert list(tmp_path.iterdir()) == [good]
