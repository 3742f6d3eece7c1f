"""The independent Wasserstein critic against closed forms, its resumption and its refusals."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import keras
import numpy as np
import pytest

from tfdm.errors import DivergedError
from tfdm.eval.config import CriticConfig
from tfdm.eval.wasserstein_critic import independent_wasserstein_critic as train_critics

SIDE = 4
SHAPE = (SIDE, SIDE, 1)
DIM = SIDE * SIDE
# With a rate of nought a critic keeps its initial weights, and all it says is arithmetic.
FROZEN = CriticConfig(steps=1, batch_size=2, learning_rate=0.0)
QUICK = CriticConfig(steps=300, batch_size=32, num_seeds=1, learning_rate=0.01)


def network_of(*layers):
    flat = [keras.Input(SHAPE), keras.layers.Flatten(), *layers]
    return keras.Sequential([*flat, keras.layers.Reshape([])])


def linear(seed, scale=0.1):
    """The critic f(x) = <w, x>."""
    initial = normal(scale, seed)
    return network_of(keras.layers.Dense(1, use_bias=False, kernel_initializer=initial))


def hidden(seed):
    """One hidden layer of tanh."""
    first, last = (normal(0.5, number) for number in (seed, seed + 1000))
    layers = [
        keras.layers.Dense(8, activation="tanh", kernel_initializer=first),
        keras.layers.Dense(1, kernel_initializer=last),
    ]
    return network_of(*layers)


def normal(scale, seed):
    return keras.initializers.RandomNormal(0.0, scale, seed=seed)


def uniform(rng, count, low=0.0, high=1.0):
    return rng.uniform(low, high, (count, *SHAPE)).astype(np.float32)


def constant(count, value):
    return np.full((count, *SHAPE), value, np.float32)


def noting(seeds):
    """The linear critic as a network whose seeds are noted, each once."""
    return lambda seed: seeds.setdefault(seed, linear(seed))


def linear_error(num_held_out, num_samples):
    """Standard error of <w, mean x − mean x̂> for |w| = 1 and pixels uniform on [-1, 1]."""
    return np.sqrt((1 / num_held_out + 1 / num_samples) / 3)


@pytest.mark.parametrize("penalty", [1.0, 10.0])
def test_two_point_masses_lie_apart_by_their_distance_and_the_bias_of_the_penalty(penalty, seed):
    """max over w of r|w| − λ(|w| − 1)² stands at |w| = 1 + r/(2λ): the value r + r²/(2λ)."""
    distance = 2.0 * 0.25 * np.sqrt(DIM)
    result = train_critics(
        constant(5, 0.75),
        constant(3, 0.75),
        constant(4, 0.5),
        CriticConfig(
            steps=400, batch_size=4, num_seeds=1, learning_rate=0.003, gradient_penalty=penalty
        ),
        network=linear,
        seed=seed,
    )
    expected = distance + distance**2 / (2 * penalty)
    assert result.value == pytest.approx(expected, rel=0.01)
    assert result.training_value == pytest.approx(expected, rel=0.01)
    assert result.critic_gap == pytest.approx(0.0, abs=1e-5)
    assert result.per_seed == (result.value,)
    assert result.standard_error is None and result.model_gap is None


def test_a_critic_that_does_not_move_says_what_its_weights_say(rng, seed):
    real, held_out, samples, seen = (uniform(rng, count) for count in (7, 1003, 9, 5))
    seeds = {}
    result = train_critics(
        real, held_out, samples, FROZEN, network=noting(seeds), seed=seed, training_images=seen
    )

    def mean_scores(images):
        signed = 2 * images.reshape(len(images), DIM).astype(np.float64) - 1
        return signed.mean(axis=0) @ weights

    assert len(seeds) == 3
    weights = np.stack([linear(s).get_weights()[0][:, 0] for s in seeds], axis=1)
    held_out_fake = mean_scores(held_out) - result.per_seed
    assert result.value == pytest.approx(np.mean(result.per_seed))
    assert result.standard_error == pytest.approx(np.std(result.per_seed, ddof=1) / np.sqrt(3))
    gaps = mean_scores(held_out) - mean_scores(seen)
    error = np.std(gaps, ddof=1) / np.sqrt(3)
    assert result.model_gap_standard_error == pytest.approx(error, rel=1e-4)
    assert result.model_gap == pytest.approx(
        np.mean(mean_scores(held_out) - mean_scores(seen)), abs=1e-6
    )
    assert result.critic_gap == pytest.approx(result.training_value - result.value)
    # Four samples are for training and the five others, none of those, are held out.
    fake = np.mean(mean_scores(real)) - result.training_value
    whole = 4 / 9 * fake + 5 / 9 * np.mean(held_out_fake)
    assert whole == pytest.approx(np.mean(mean_scores(samples)), abs=1e-6)
    halves = [mean_scores(samples[list(chosen)]) for chosen in itertools.combinations(range(9), 5)]
    assert np.min(np.abs(np.array(halves) - held_out_fake).max(axis=1)) < 1e-6
    counts = result.num_real, result.num_held_out, result.num_samples, result.num_held_out_samples
    assert counts == (7, 1003, 4, 5)


def test_errors_over_images_are_those_of_the_critics_mean_score(rng, seed):
    held_out, seen = uniform(rng, 203), uniform(rng, 57)
    seeds = {}
    # Samples that are all alike add nothing.
    result = train_critics(
        held_out[:5],
        held_out,
        constant(9, 0.25),
        FROZEN,
        network=noting(seeds),
        seed=seed,
        training_images=seen,
    )
    weights = np.mean([linear(s).get_weights()[0][:, 0] for s in seeds], axis=0)
    spread = [
        np.var((2.0 * images.reshape(-1, DIM) - 1.0) @ weights, ddof=1) / len(images)
        for images in (held_out, seen)
    ]
    assert result.image_standard_error == pytest.approx(np.sqrt(spread[0]), rel=1e-4)
    assert result.model_gap_image_standard_error == pytest.approx(np.sqrt(sum(spread)), rel=1e-4)


def test_one_image_has_no_error_over_images(seed):
    one = constant(1, 0.5)
    options = {"network": linear, "seed": seed, "training_images": constant(5, 0.5)}
    result = train_critics(GOOD, one, constant(6, 0.25), FROZEN, **options)
    assert result.image_standard_error is None
    assert result.model_gap_image_standard_error is None
    without = train_critics(GOOD, GOOD, GOOD, FROZEN, network=linear, seed=seed)
    assert without.model_gap_image_standard_error is None


def test_bytes_and_their_fractions_are_the_same_images(rng, seed):
    sets = [rng.integers(0, 256, (count, *SHAPE), np.uint8) for count in (6, 5, 8)]
    fractions = [images / np.float32(255) for images in sets]
    as_bytes = train_critics(*sets, FROZEN, network=linear, seed=seed)
    assert as_bytes == train_critics(*fractions, FROZEN, network=linear, seed=seed)


def test_samples_of_the_images_distribution_lie_at_nought_and_others_at_their_distance(rng, seed):
    """Samples moved by s in every pixel lie r = 2 s √d away, near which their distance must be."""
    real, held_out, samples = (uniform(rng, count, high=0.7) for count in (400, 400, 800))
    distances = [
        train_critics(
            real, held_out, samples + np.float32(shift), QUICK, network=linear, seed=seed
        ).value
        for shift in (0.0, 0.1, 0.3)
    ]
    slope = 1.2  # of the critic: 1 + r/(2λ) at the most
    error = 4 * 0.7 * slope * linear_error(400, 400)
    assert abs(distances[0]) < error
    for value, shift in zip(distances[1:], (0.1, 0.3), strict=True):
        distance = 2 * shift * np.sqrt(DIM)
        assert value == pytest.approx(distance + distance**2 / 20, abs=error)
    assert distances[0] < distances[1] < distances[2]


def test_samples_that_repeat_the_training_images_open_the_gap_of_the_model(rng, seed):
    real, held_out = uniform(rng, 200), uniform(rng, 200)
    seen, independent = uniform(rng, 20), uniform(rng, 200)
    copies = np.tile(seen, (10, 1, 1, 1))
    results = [
        train_critics(
            real, held_out, samples, QUICK, network=linear, seed=seed, training_images=seen
        )
        for samples in (copies, independent)
    ]
    gaps = [result.model_gap for result in results]
    error = 1.2 * linear_error(200, 20)
    # Along the way from the mean of 200 images to that of 20, which is about √(d/3/20) long.
    shift = np.linalg.norm(2 * (real.mean(axis=0) - seen.mean(axis=0)))
    assert gaps[0] == pytest.approx(shift, abs=4 * 1.2 * linear_error(200, 200))
    assert gaps[0] > 0.25
    assert abs(gaps[1]) < 4 * error
    # What the gap of a model that did not overfit is held against.
    assert abs(gaps[1]) < 4 * results[1].model_gap_image_standard_error


class StoppedError(Exception):
    """What breaks a call off."""


def stop_at(step):
    def progress(done, total):
        if done == step:
            raise StoppedError

    return progress


@pytest.mark.parametrize("step", [5, 12, 25])
def test_a_call_broken_off_goes_on_to_the_same_bits(step, rng, seed, tmp_path, monkeypatch):
    monkeypatch.setattr("tfdm.eval.wasserstein_critic._STEPS_A_SAVE", 10)
    sets = [uniform(rng, 20), uniform(rng, 20), uniform(rng, 40, high=0.8)]
    config = CriticConfig(steps=13, batch_size=8, num_seeds=2, learning_rate=0.01)
    options = {"network": hidden, "seed": seed, "training_images": sets[0]}
    whole = train_critics(*sets, config, **options)
    with pytest.raises(StoppedError):
        train_critics(*sets, config, **options, state=tmp_path, progress=stop_at(step))
    calls = []
    resumed = train_critics(
        *sets, config, **options, state=tmp_path, progress=lambda *call: calls.append(call)
    )
    assert resumed == whole
    # The newest checkpoint lies at ten steps of a critic or at its end.
    first = {5: 1, 12: 11, 25: 24}[step]
    assert calls == [(done, 26) for done in range(first, 27)]
    again = train_critics(*sets, config, **options, state=tmp_path, progress=stop_at(26))
    assert again == whole


def test_a_state_is_no_use_to_another_problem(rng, seed, tmp_path):
    sets = [uniform(rng, 6), uniform(rng, 5), uniform(rng, 8)]
    config = CriticConfig(steps=3, batch_size=4, num_seeds=1, learning_rate=0.01)
    problem = dict(zip(("real", "held_out", "samples"), sets, strict=True))
    problem |= {"config": config, "network": linear, "seed": seed}
    train_critics(**problem, state=tmp_path)
    changes = [
        {"real": sets[0][::-1]},
        {"samples": sets[2] * np.float32(0.5)},
        {"config": dataclasses.replace(config, gradient_penalty=5.0)},
        {"seed": seed + 1},
        {"network": hidden},
        {"network": lambda critic_seed: linear(critic_seed, scale=0.2)},
    ]
    for count, change in enumerate(changes, start=2):
        other = {**problem, **change}
        expected = train_critics(**other)
        assert train_critics(**other, state=tmp_path) == expected
        assert len(list(tmp_path.iterdir())) == count
    # Neither bears on training: the critics are there already.
    train_critics(
        **{**problem, "held_out": sets[2]},
        training_images=sets[1],
        state=tmp_path,
        progress=stop_at(3),
    )


def test_seeds_give_critics_of_their_own_and_one_seed_the_same_ones(rng, seed):
    sets = [uniform(rng, 20), uniform(rng, 20), uniform(rng, 40, high=0.8)]
    config = CriticConfig(steps=20, batch_size=8, learning_rate=0.01)
    # All start from the same weights, so that they differ by their batches alone.
    first, same, other = (
        train_critics(*sets, config, network=lambda _: linear(0), seed=number)
        for number in (seed, seed, seed + 1)
    )
    assert first == same
    assert len(set(first.per_seed + other.per_seed)) == 6
    alone = dataclasses.replace(config, num_seeds=1)
    [value] = train_critics(*sets, alone, network=lambda _: linear(0), seed=seed).per_seed
    assert value == first.per_seed[0]


def test_every_critic_starts_afresh():
    """Point masses leave a linear critic no chance: all do the same from the same weights."""
    config = CriticConfig(steps=5, batch_size=4, learning_rate=0.01)
    images = constant(3, 0.75)
    result = train_critics(images, images, constant(4, 0.5), config, network=lambda _: linear(0))
    assert len(set(result.per_seed)) == 1 and result.standard_error == 0


@pytest.mark.parametrize(
    ("shape", "normalization"), [((28, 28, 3), "layer"), ((16, 16, 1), "none")]
)
def test_the_critic_of_the_paper_runs(shape, normalization, rng, seed):
    sets = [rng.integers(0, 256, (count, *shape), np.uint8) for count in (4, 3, 4)]
    config = CriticConfig(
        steps=2, batch_size=2, num_seeds=2, width=1 / 16, normalization=normalization
    )
    calls = []
    result = train_critics(*sets, config, seed=seed, progress=lambda *call: calls.append(call))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert np.isfinite(result.value) and result.standard_error > 0


GOOD = constant(4, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out": constant(4, 0.5)[:, :3]}, r"held_out have shape \(4, 3, 4, 1\), .*4, 4, 1"),
        ({"samples": np.zeros((4, 4, 4, 3))}, r"samples have shape \(4, 4, 4, 3\), .*4, 4, 1"),
        ({"training_images": np.zeros((4, 8, 8, 1))}, r"training_images have shape \(4, 8, 8, 1\)"),
        ({"samples": constant(1, 0.5)}, "there are 1 samples, expected at least 2"),
        ({"real": constant(0, 0.5)}, "there are 0 images, expected at least 1"),
        ({"held_out": constant(4, np.nan)}, "not finite"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"network": None}, r"image_shape is \(4, 4, 1\), expected \(S, S, C\)"),
        ({"network": lambda seed: keras.Sequential(linear(seed).layers[:-1])},
         r"scores have shape \[.*, 1\], expected \[B\]"),
    ],
)  # fmt: skip
def test_refusals_name_the_value_and_what_was_expected(changes, message):
    call = {"real": GOOD, "held_out": GOOD, "samples": GOOD, "config": FROZEN, "network": linear}
    with pytest.raises(ValueError, match=message):
        train_critics(**{**call, **changes})


@pytest.mark.parametrize("stored", [False, True])
def test_a_critic_that_diverges_is_an_error(stored, tmp_path):
    state = tmp_path if stored else None
    with pytest.raises(DivergedError, match="finite"):
        network = functools.partial(linear, scale=1e38)
        train_critics(GOOD, GOOD, constant(4, 0.25), FROZEN, network=network, state=state)


def test_a_recipe_out_of_its_ranges_is_refused():
    bad = {"steps": 0, "num_seeds": 0, "gradient_penalty": 0.0, "normalization": "batch"}
    for name, value in {**bad, "width": 0.0, "learning_rate": -1.0}.items():
        with pytest.raises(ValueError, match=f"{name} is {value!r}, expected"):
            CriticConfig(**{name: value})
