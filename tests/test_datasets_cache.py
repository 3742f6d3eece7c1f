"""Prepared copies: whole or absent, checked by digest, one writer at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfdm.datasets import cache, digest
from tfdm.datasets.dataset import Source, SplitStream
from tfdm.errors import UserError
from tfdm.runs import atomic

SHAPE = (4, 5, 3)
SIZES = {"train": 7, "validation": 3, "test": 2}


def pixels(split: str) -> np.ndarray:
    rng = np.random.default_rng(list(SIZES).index(split))
    return rng.integers(0, 256, (SIZES[split], *SHAPE), dtype=np.uint8)


def make_source(on_chunk=lambda split, start: None, change=lambda array: array, **key) -> Source:
    """A source of fixed pixels; `on_chunk` is called before a chunk of two images is given."""

    def stream(split):
        def chunks():
            for start in range(0, SIZES[split], 2):
                on_chunk(split, start)
                yield change(pixels(split)[start : start + 2])

        return SplitStream(SIZES[split], chunks)

    return Source("made_up", SHAPE, key, lambda: {split: stream(split) for split in SIZES})


def files_below(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if not p.name.endswith(".lock"))


def only_folder(cache_dir: Path) -> Path:
    [folder] = [p for p in cache_dir.iterdir() if p.is_dir()]
    return folder


def test_prepared_pixels_are_the_sources_and_read_only(tmp_path):
    dataset = cache.prepared(make_source(), tmp_path / "new" / "cache")
    assert list(dataset.splits) == ["train", "validation", "test"]
    assert dataset.image_shape == SHAPE
    for split in SIZES:
        assert isinstance(dataset.splits[split], np.memmap)
        np.testing.assert_array_equal(dataset.split(split), pixels(split))
        with pytest.raises(ValueError, match="read-only"):
            dataset.splits[split][0] = 0
    with pytest.raises(ValueError, match="no split 'training', only train, validation, test"):
        dataset.split("training")


def test_digest_is_that_of_names_shapes_and_pixels(tmp_path):
    dataset = cache.prepared(make_source(), tmp_path)
    content = [
        [name, list(pixels(name).shape), [hashlib.sha256(pixels(name).tobytes()).hexdigest()]]
        for name in ("test", "train", "validation")
    ]
    assert dataset.digest == hashlib.sha256(json.dumps(content).encode()).hexdigest()


def test_another_key_is_another_copy_with_the_digest_of_its_pixels(tmp_path):
    def darken(array):
        array[0, 0, 0, 0] ^= 1
        return array

    first = cache.prepared(make_source(crop=1), tmp_path)
    same_pixels = cache.prepared(make_source(crop=2), tmp_path)
    other_pixels = cache.prepared(make_source(crop=3, change=darken), tmp_path)
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 3
    assert first.digest == same_pixels.digest != other_pixels.digest
    assert (first.meta["crop"], same_pixels.meta["crop"]) == (1, 2)


def other_shape(path: Path) -> None:
    np.save(path, np.load(path).reshape(-1, *reversed(SHAPE)))


def rewritten(change) -> Callable[[Path], int]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("test.npy", rewritten(lambda content: content[:-1] + bytes([content[-1] ^ 1]))),
        ("train.npy", rewritten(lambda content: content[:-1])),
        ("train.npy", other_shape),
        ("validation.npy", Path.unlink),
        ("validation.npy", rewritten(lambda content: b"")),
        ("meta.json", Path.unlink),
        ("meta.json", rewritten(lambda content: content[:-1])),
        ("meta.json", rewritten(lambda content: b"[]")),
        ("meta.json", rewritten(lambda content: re.sub(b"[0-9a-f]{64}", b"0" * 64, content))),
        ("meta.json", rewritten(lambda content: content.replace(b'"made_up"', b'"made_down"'))),
    ],
)
def test_damaged_copy_is_prepared_again_with_a_warning(tmp_path, caplog, name, damage):
    whole = cache.prepared(make_source(), tmp_path)
    damage(only_folder(tmp_path) / name)
    with caplog.at_level(logging.WARNING, "tfdm"):
        again = cache.prepared(make_source(), tmp_path)
    [warning] = caplog.messages
    assert "damaged" in warning and str(only_folder(tmp_path)) in warning
    assert again.digest == whole.digest
    np.testing.assert_array_equal(again.splits["test"], pixels("test"))


def test_every_block_is_digested(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "BLOCK_BYTES", 64)
    array = pixels("train")
    np.save(tmp_path / "a.npy", array)
    content = array.tobytes()
    expected = [
        hashlib.sha256(content[start : start + 64]).hexdigest()
        for start in range(0, len(content), 64)
    ]
    assert digest.block_digests(tmp_path / "a.npy") == expected
    assert digest.block_digests(tmp_path / "a.npy", [3, 6]) == [expected[3], expected[6]]


def test_files_up_to_the_limit_are_checked_whole_and_larger_ones_in_part():
    block = digest.BLOCK_BYTES
    assert digest.blocks_to_check(1) == [0]
    assert digest.blocks_to_check(5, checked_bytes=5 * block) == [0, 1, 2, 3, 4]
    assert digest.blocks_to_check(9, checked_bytes=5 * block) == [0, 2, 4, 6, 8]
    # CelebA at 64x64 is checked whole.
    celeb_a_blocks = -(-162_770 * 64 * 64 * 3 // block)
    assert digest.blocks_to_check(celeb_a_blocks) == list(range(celeb_a_blocks))


def fail_late(split: str, start: int) -> None:
    if split == "test":
        raise UserError("the source is damaged")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (make_source(on_chunk=fail_late), "the source is damaged"),
        (make_source(change=lambda a: a[:1]), "made_up train: the source holds 4 images, expected"),
        (make_source(change=lambda a: np.repeat(a, 2, 0)), "holds 14 images, expected 7"),
        (make_source(change=lambda a: a[:, 1:]), r"images are uint8 \[3, 5, 3\], expected uint8 "),
        (make_source(change=lambda a: a / 255), r"images are float64 \[4, 5, 3\], expected uint8"),
    ],
)
def test_failed_preparation_leaves_nothing_behind(tmp_path, source, message):
    with pytest.raises(UserError, match=message) as error:
        cache.prepared(source, tmp_path)
    assert "\n" not in str(error.value)
    assert files_below(tmp_path) == []
    np.testing.assert_array_equal(  # And the next attempt is free to succeed.
        cache.prepared(make_source(), tmp_path).splits["train"], pixels("train")
    )


def test_an_interrupt_or_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(split, start):
        if start:
            raise KeyboardInterrupt

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(KeyboardInterrupt):
        cache.prepared(make_source(on_chunk=interrupt), tmp_path)
    assert files_below(tmp_path) == []
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device: '"):
        cache.prepared(make_source(), tmp_path)
    assert files_below(tmp_path) == []


def test_cache_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"cannot write into {tmp_path}/file/cache"):
        cache.prepared(make_source(), tmp_path / "file" / "cache")


def kill_in_the_middle(cache_dir: Path) -> None:
    def kill(split, start):
        if split == "validation" and start:
            os.kill(os.getpid(), signal.SIGKILL)

    cache.prepared(make_source(on_chunk=kill), cache_dir)


def prepare_slowly(cache_dir: Path, log: Path) -> None:
    def slow(split, start):
        with open(log, "a") as file:
            file.write("chunk\n")
        time.sleep(0.05)

    dataset = cache.prepared(make_source(on_chunk=slow), cache_dir)
    np.testing.assert_array_equal(dataset.splits["train"], pixels("train"))


def start(function, *arguments) -> multiprocessing.Process:
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    return process


def test_what_a_killed_process_left_is_removed(tmp_path):
    process = start(kill_in_the_middle, tmp_path)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert "train.npy" in files_below(tmp_path)  # Half-written, but under another name.
    dataset = cache.prepared(make_source(), tmp_path)
    np.testing.assert_array_equal(dataset.splits["test"], pixels("test"))
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [only_folder(tmp_path)]


def test_two_processes_at_once_prepare_once(tmp_path):
    log = tmp_path / "log"
    processes = [start(prepare_slowly, tmp_path / "cache", log) for _ in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    chunks = sum(-(-size // 2) for size in SIZES.values())
    assert log.read_text().count("chunk") == chunks


def test_leftovers_of_other_sets_are_removed_unless_someone_is_at_work(tmp_path):
    dead = atomic.temporary_sibling(tmp_path / "dead")
    dead.mkdir()
    with atomic.atomic_directory(tmp_path / "alive") as alive:
        cache.prepared(make_source(), tmp_path)
        assert alive.exists() and not dead.exists()


def test_default_cache_folder(monkeypatch):
    monkeypatch.setenv("TFDM_CACHE_DIR", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert cache.default_cache_dir() == Path("/a")
    monkeypatch.delenv("TFDM_CACHE_DIR")
    assert cache.default_cache_dir() == Path("/b/tfdm")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_cache_dir() == Path("/c/.cache/tfdm")
