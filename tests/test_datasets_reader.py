"""The one reader of image files: which files, which pixels, and what is said about bad ones."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tfdm.datasets.reader import list_images, read_image, read_image_shape
from tfdm.errors import UserError

TURNED = Image.Exif()
TURNED[0x0112] = 6  # Orientation: turn by 90 degrees clockwise to show.


@pytest.fixture
def pixels(rng):
    """8 x 6, smooth, so that a lossy format keeps it."""
    coarse = Image.fromarray(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((6, 8), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("name", "mode", "options", "channels"),
    [
        ("a.png", "RGB", {}, 3),
        ("a.PNG", "L", {}, 1),
        ("a.png", "LA", {}, 1),
        ("a.png", "RGBA", {}, 3),
        ("a.png", "1", {}, 1),
        ("a.jpg", "RGB", {"quality": 100, "subsampling": 0}, 3),
        ("a.jpeg", "CMYK", {"quality": 100, "subsampling": 0}, 3),
        ("a.bmp", "RGB", {}, 3),
        ("a.ppm", "RGB", {}, 3),
        ("a.pgm", "L", {}, 1),
        ("a.tif", "RGB", {}, 3),
        ("a.webp", "RGB", {"lossless": True}, 3),
    ],
)
def test_pixels_are_those_of_the_image(tmp_path, pixels, name, mode, options, channels):
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / name, **options)
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    actual = read_image(tmp_path / name)
    assert actual.dtype == np.uint8 and actual.shape == (8, 6, channels)
    lossy = 6 if name.startswith("a.j") else 0
    assert np.abs(actual.squeeze().astype(int) - expected).max() <= lossy
    assert read_image_shape(tmp_path / name) == actual.shape


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.webp"])
def test_every_format_is_turned_by_its_orientation(tmp_path, pixels, name):
    sideways = Image.fromarray(np.ascontiguousarray(np.rot90(pixels)))
    sideways.save(tmp_path / name, exif=TURNED, quality=100, lossless=True)
    actual = read_image(tmp_path / name)
    assert actual.shape == read_image_shape(tmp_path / name) == (8, 6, 3)
    assert np.abs(actual.astype(int) - pixels).mean() < 6.0


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("L", (5, 4), level) for level in (10, 200)]
    for name in ("a.gif", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert np.abs(read_image(tmp_path / name).astype(int) - 10).max() <= 1


def png_of_16_bits(color: int, channels: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = (b"\0" + b"\x12\x34" * channels * 3) * 2
    header = struct.pack(">IIBBBBB", 3, 2, 16, color, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png_of_16_bits(0, 1), "more than 8 bits, mode I;16"),
        (png_of_16_bits(2, 3), "more than 8 bits"),
        (png_of_16_bits(4, 2), "more than 8 bits"),
        (png_of_16_bits(6, 4), "more than 8 bits"),
        (b"P6 2 1 65535\n" + b"\0" * 12, "more than 8 bits"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "cannot identify image file"),
        (b"", "cannot identify image file"),
        (None, "No such file or directory"),
    ],
)
def test_a_bad_file_is_one_line_with_its_name(tmp_path, content, message):
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    for read in (read_image, read_image_shape):
        with pytest.raises(UserError, match=rf"cannot read {path} \(.*{message}") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_images_are_regular_files_with_a_known_extension(tmp_path):
    image = Image.new("L", (2, 2))
    for name in ("b/2.JPG", "b/1.png", "a.tiff", ".hidden.png", ".cache/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    assert list_images(tmp_path) == ["a.tiff", "b/1.png", "b/2.JPG", "gone.png"]
    with pytest.raises(UserError, match="is no regular file"):
        read_image(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="cannot list .*absent: No such file"):
        list_images(tmp_path / "absent")
