"""The numbers of a run: lines of JSON, TensorBoard, time, and what the bar shows of them."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as PluginEventAccumulator,
)
from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

from tests.test_progress import Terminal
from tests.tiny_training import fit, tiny_dataset, tiny_model
from tfdm.runs import RunFolder
from tfdm.training import metrics
from tfdm.training.callbacks import Span
from tfdm.training.held_out import HeldOutTerms
from tfdm.training.progress import ProgressBar, losses_first
from tfdm.training.state import capture_state


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Five steps, logged every second one, after 100 seconds of earlier sessions."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    writer = tf.summary.create_file_writer(str(folder.tensorboard))
    flat = {"seed": 3, "model": "tiny", "shape": [1, 2], "log_every": 2, "data_dir": "/data"}
    flat |= {"preset": "quick", "steps_per_execution": 1}
    metrics.begin_session(writer, flat, "the-run", 1)
    clock = metrics.RunClock(earlier_seconds=100.0)
    logger = metrics.MetricsLogger(Span(0, 5), 2, folder, writer, clock)
    losses = []

    class Losses(metrics.StepCallback):
        def after_steps(self, previous, logs):
            losses.append({name: float(value) for name, value in logs.items()})

    fit(tiny_model(), 0, 5, [logger, Losses(Span(0, 5))])
    writer.close()
    return folder, logger, losses


def test_lines_hold_the_logs_of_their_step(logged):
    folder, _, losses = logged
    lines = [json.loads(line) for line in folder.metrics_path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    for line in lines:
        assert metrics.losses_of(line) == losses[line["step"] - 1]
    assert set(losses[0]) == {"encoder_loss", "error", "generator_loss"}
    assert metrics.last_record(folder) == lines[-1]


def test_time_goes_on_from_the_earlier_sessions(logged):
    folder, logger, _ = logged
    lines = [json.loads(line) for line in folder.metrics_path.read_text().splitlines()]
    seconds = [line["wall_seconds"] for line in lines]
    assert 100.0 < seconds[0] <= seconds[1] <= seconds[2] < 400.0
    # The first execution is left out: one step between it and the line of step 2.
    elapsed = seconds[2] - seconds[1]
    assert lines[2]["steps_per_second"] == pytest.approx(1.0 / elapsed, abs=0.6 / elapsed)
    assert logger.steps_per_second > 0.0


def test_tensorboard_has_every_log_and_the_configuration(logged):
    folder, _, losses = logged
    events = EventAccumulator(str(folder.tensorboard), size_guidance={"tensors": 0}).Reload()
    [(start, content)] = events.PluginTagToContent("hparams").items()
    tags = set(events.Tags()["tensors"]) - {start}
    losses_tags = {"loss/encoder_loss", "loss/generator_loss"}
    assert tags == losses_tags | {"terms/error", "speed/steps_per_second"}
    points = [
        (p.step, tf.make_ndarray(p.tensor_proto).item()) for p in events.Tensors("terms/error")
    ]
    assert points == [(step, pytest.approx(losses[step - 1]["error"])) for step in (2, 4, 5)]
    shown = parse_session_start_info_plugin_data(content).hparams
    assert set(shown) == {"seed", "model"}
    assert shown["seed"].number_value == 3 and shown["model"].string_value == "tiny"


def test_a_session_replaces_what_a_killed_one_wrote_of_its_steps(tmp_path):
    folder = RunFolder(tmp_path)
    for start, end in ((0, 6), (4, 6), (4, 8)):  # Killed at 6, twice; checkpoints were of 4.
        writer = tf.summary.create_file_writer(str(folder.tensorboard))
        metrics.begin_session(writer, {"seed": 3}, "the-run", start + 1)
        with writer.as_default():
            for step in range(start + 1, end + 1):
                tf.summary.scalar("loss", np.float32(100 * end + step), step=step)
                tf.summary.image("samples", np.zeros((1, 2, 2, 1)), step=step)
        writer.close()
    # What TensorBoard itself shows.
    events = PluginEventAccumulator(str(folder.tensorboard)).Reload()
    tags = events.Tags()["tensors"]
    steps = {tag: [point.step for point in events.Tensors(tag)] for tag in tags}
    assert steps["loss"] == steps["samples"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert steps["_hparams_/session_start_info"] == [1, 5]
    values = [tf.make_ndarray(point.tensor_proto).item() for point in events.Tensors("loss")]
    assert values == [601, 602, 603, 604, 805, 806, 807, 808]


def test_held_out_terms_are_the_means_of_whole_batches_and_move_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr("tfdm.training.held_out.MAX_IMAGES", 11)
    images = tiny_dataset().splits["validation"]  # 12, of which two batches of 4 are taken
    chosen = images[[0, 1, 3, 4, 6, 7, 9, 11]]
    writer = tf.summary.create_file_writer(str(tmp_path))
    held_out = HeldOutTerms(2, images, 4)
    folder = RunFolder(tmp_path)
    logger = metrics.MetricsLogger(Span(0, 3), 9, folder, writer, metrics.RunClock(), held_out)
    plain, evaluated = tiny_model(), tiny_model()
    fit(plain, 0, 3)
    fit(evaluated, 0, 3, [logger])
    for name, array in capture_state(plain).items():
        np.testing.assert_array_equal(capture_state(evaluated)[name], array, err_msg=name)
    lines = [json.loads(line) for line in folder.metrics_path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]
    expected = evaluated.evaluate(chosen, batch_size=4, verbose=0, return_dict=True)
    for name, value in expected.items():
        assert lines[-1][f"val_{name}"] == pytest.approx(value, rel=1e-6)
        assert lines[0][f"val_{name}"] != lines[-1][f"val_{name}"]


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("code_discriminator_loss", "loss/code_discriminator_loss"),
        ("discriminator_accuracy", "accuracy/discriminator_accuracy"),
        ("kl", "kl/kl"),
        ("marginal_kl_estimate", "kl/marginal_kl_estimate"),
        ("log_likelihood", "terms/log_likelihood"),
    ],
)
def test_tags_are_grouped(name, tag):
    assert metrics.tag_of(name) == tag


def test_tensorflow_keeps_no_number_that_is_logged(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    logger = metrics.MetricsLogger(Span(0, 9), 1, RunFolder(tmp_path), writer, metrics.RunClock())
    logger.set_model(tiny_model())
    numbers = {"loss": float("0.1234567"), "error": float("1.7654321")}
    before = [sys.getrefcount(number) for number in numbers.values()]
    logger._write(numbers)
    assert [sys.getrefcount(number) for number in numbers.values()] == before


def test_a_folder_without_lines_has_no_last_record(tmp_path):
    folder = RunFolder(tmp_path)
    assert metrics.last_record(folder) == {}
    folder.metrics_path.write_text("")
    assert metrics.last_record(folder) == {}


def test_a_pipe_gets_lines_with_rate_remaining_time_and_losses(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("tfdm.progress._FILE_SECONDS", 0.0)
    model = tiny_model()
    fit(model, 0, 2)
    bar = ProgressBar(Span(2, 6), stream)
    fit(model, 2, 4, [bar])
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("tracing the step:  33%") and "2/6" in lines[0]
    assert lines[-1].startswith("training: 100%") and "6/6" in lines[-1]
    assert "encoder " in lines[-1] and "generator " in lines[-1]
    assert "\r" not in stream.getvalue()
    bar.close()
    assert len(stream.getvalue().splitlines()) == len(lines)


def test_a_terminal_gets_one_bar_that_moves():
    stream = Terminal()
    fit(tiny_model(), 0, 3, [ProgressBar(Span(0, 3), stream)])
    states = stream.getvalue().split("\r")
    assert "3/3" in states[-1] and stream.getvalue().count("\n") == 1


def test_a_bar_that_never_began_and_one_that_was_cut_short_can_be_closed():
    stream = Terminal()
    bar = ProgressBar(Span(0, 3), stream)
    bar.close()
    assert stream.getvalue() == ""
    bar.on_train_begin()
    bar.close()
    bar.close()
    assert "0/3" in stream.getvalue()


def test_the_players_losses_come_before_other_logs():
    values = {"bound": -3.0, "encoder_loss": 1234.5678, "generator_loss": 0.5}
    assert losses_first(values) == {"encoder": 1234.5678, "generator": 0.5}
    assert losses_first({"bound": -3.0}) == {"bound": -3.0}
