"""The trainable densities: normalised, consistent with their samples, each with its structure."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from tfdm.distributions.autoregressive_lstm import AutoregressiveLSTM
from tfdm.distributions.densities import Density
from tfdm.distributions.gaussian_mixture import DiagonalGaussianMixture
from tfdm.distributions.masked_autoregressive_flow import MaskedAutoregressiveFlow, MaskedNetwork

ERRORS = 4.0

FAMILIES: dict[str, Callable[[int], Density]] = {
    "gmm": lambda latents: DiagonalGaussianMixture(latents, 5, seed=1),
    "maf": lambda latents: MaskedAutoregressiveFlow(latents, 3, 2, 12, seed=1),
    "maf_1": lambda latents: MaskedAutoregressiveFlow(latents, 1, 1, 12, seed=1),
    "lstm": lambda latents: AutoregressiveLSTM(latents, 2, 9, seed=1),
}


DRAWS: dict[str, Callable[[Density, int], np.ndarray]] = {
    "sample": lambda density, seed: density.sample(20_000, seed).numpy(),
    "from_noise": lambda density, seed: density.from_noise(
        np.random.default_rng(seed).normal(size=(20_000, 2))
    ).numpy(),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Callable[[int], Density]:
    return FAMILIES[request.param]


def _disturbed(density: Density, rng: np.random.Generator) -> Density:
    """Moves every weight, so that nothing is the Gaussian that it starts as."""
    for variable in density.trainable_variables:
        scale = 0.15 * rng.standard_normal(variable.shape)
        variable.assign_add(scale.astype(np.float32))
    return density


def test_density_is_normalised(family: Callable[[int], Density], rng: np.random.Generator) -> None:
    density = family(2)
    density.initialize(rng.normal([0.5, -0.2], [0.8, 1.2], size=(500, 2)))
    _disturbed(density, rng)
    grid = np.linspace(-14.0, 14.0, 561)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    density_at = np.exp(density.log_prob(points).numpy().astype(np.float64))
    assert density_at.sum() * (grid[1] - grid[0]) ** 2 == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_samples_follow_the_density(
    family: Callable[[int], Density],
    draw: Callable[[Density, int], np.ndarray],
    rng: np.random.Generator,
    seed: int,
) -> None:
    """Drawn by the density's own seed, or from noise as a prior's codes are."""
    density = family(2)
    assert density.latent_dim == 2
    density.initialize(rng.normal(size=(500, 2)))
    _disturbed(density, rng)
    samples = draw(density, seed % 1000)
    # Shares of quadrants around an inner point, against the integral of the density.
    center = np.median(samples, axis=0)
    grid = np.linspace(-12.0, 12.0, 481) + 0.0125
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(density.log_prob(points).numpy().astype(np.float64)) * (grid[1] - grid[0]) ** 2
    for first in (False, True):
        for second in (False, True):
            inside = (points > center) == np.array([first, second])
            expected = mass[inside.all(axis=1)].sum()
            share = ((samples > center) == np.array([first, second])).all(axis=1).mean()
            error = math.sqrt(expected * (1 - expected) / len(samples))
            # The grid cuts cells at the center: half a cell's width of mass on either side.
            assert abs(share - expected) < ERRORS * error + 0.02
    np.testing.assert_array_equal(samples, draw(density, seed % 1000))
    assert not np.array_equal(samples, draw(density, seed % 1000 + 1))


@pytest.mark.parametrize("size", [0.01, 1.0, 400.0, 1e6])
def test_mixture_starts_at_the_scale_of_the_codes(rng: np.random.Generator, size: float) -> None:
    codes = size * rng.normal(size=(500, 2))
    density = DiagonalGaussianMixture(2, 3)
    density.initialize(codes)
    scale = density.distribution.components_distribution.stddev().numpy()
    expected = math.sqrt(0.75) * codes.std(axis=0)
    np.testing.assert_allclose(scale, np.broadcast_to(expected, scale.shape), rtol=1e-2)
    assert np.isfinite(density.log_prob(codes)).all()


def test_mixture_is_its_formula(rng: np.random.Generator) -> None:
    density = _disturbed(DiagonalGaussianMixture(3, 4, seed=2), rng)
    codes = rng.normal(size=(7, 3))
    loc, logits = density.loc.numpy(), density.logits.numpy()
    scale = np.log1p(np.exp(density.raw_scale.numpy())) + 1e-3
    components = stats.norm.logpdf(codes[:, None, :], loc, scale).sum(axis=2)
    expected = special.logsumexp(components + special.log_softmax(logits), axis=1)
    np.testing.assert_allclose(density.log_prob(codes), expected, rtol=1e-4)


def test_initial_density_has_moments(
    family: Callable[[int], Density], rng: np.random.Generator
) -> None:
    codes = rng.normal([2.0, -1.0, 0.0], [0.1, 1.0, 3.0], size=(4000, 3))
    density = family(3)
    is_mixture = isinstance(density, DiagonalGaussianMixture)
    if is_mixture:  # its means are 400 of the codes: 4 of their standard errors
        density = DiagonalGaussianMixture(3, 400)
    density.initialize(codes)
    samples = density.sample(8000, 5).numpy()
    allowed = 0.2 if is_mixture else 0.08
    assert np.all(np.abs(samples.mean(axis=0) - codes.mean(axis=0)) < allowed * codes.std(axis=0))
    allowed = 0.6 if is_mixture else 0.08
    assert np.all(np.abs(np.log(samples.std(axis=0) / codes.std(axis=0))) < allowed)


@pytest.mark.parametrize("name", ["maf_1", "lstm"])
def test_a_conditional_sees_earlier_latents_alone(name: str, rng: np.random.Generator) -> None:
    density = _disturbed(FAMILIES[name](4), rng)
    codes = rng.normal(size=(1, 4)).astype(np.float32)

    def second_difference(i: int, j: int) -> float:
        """What log t changes by when both z_i and z_j move, beyond the sum of the changes."""
        moved = np.repeat(codes, 4, axis=0)
        moved[1, i] += 0.7
        moved[2, j] += 0.7
        moved[3, [i, j]] += 0.7
        a, b, c, d = density.log_prob(moved).numpy().astype(np.float64)
        return d - b - c + a

    # log t = Σ log t(z_i|z_<i): conditionals depend on their past, and every pair interacts.
    assert all(abs(second_difference(i, j)) > 1e-4 for i in range(4) for j in range(i))
    # The first factor is a function of z_1 alone: the marginal of z_1 is that Gaussian.
    samples = density.sample(20_000, 3).numpy()[:, 0].astype(np.float64)
    skew = stats.skew(samples)
    assert abs(skew) < ERRORS * math.sqrt(6 / len(samples))
    assert abs(stats.kurtosis(samples)) < ERRORS * math.sqrt(24 / len(samples))


@pytest.mark.parametrize("num_latents", [1, 2, 5])
def test_masked_network_has_a_triangular_jacobian(
    num_latents: int, rng: np.random.Generator
) -> None:
    network = MaskedNetwork(num_latents, 2, 16, seed=3)
    for kernel in network.kernels:
        kernel.assign(rng.normal(size=kernel.shape).astype(np.float32))
    codes = tf.constant(rng.normal(size=(20, num_latents)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(codes)
        shift, log_scale = network(codes)
    for output in (shift, log_scale):
        jacobians = tape.batch_jacobian(output, codes, unconnected_gradients="zero").numpy()
        np.testing.assert_array_equal(np.triu(jacobians), 0.0)
        below = jacobians[:, *np.tril_indices(num_latents, -1)]
        assert np.all(np.any(below != 0.0, axis=0))  # a rectifier may be off at some codes


def test_gradients_reach_all(family: Callable[[int], Density], rng: np.random.Generator) -> None:
    density = _disturbed(family(3), rng)
    codes = tf.constant(rng.normal(size=(6, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(codes)
        loss = tf.reduce_mean(density.log_prob(codes))
    of_codes, *of_weights = tape.gradient(
        loss, [codes, *(v.value for v in density.trainable_variables)]
    )
    assert all(np.isfinite(g).all() and np.any(g != 0.0) for g in [of_codes, *of_weights])


def test_a_density_is_made_again(
    family: Callable[[int], Density], rng: np.random.Generator
) -> None:
    density = _disturbed(family(3), rng)
    again = type(density).from_config(density.get_config())
    weights = zip(again.get_weights(), density.get_weights(), strict=True)
    assert not all(np.array_equal(a, b) for a, b in weights)
    again.set_weights(density.get_weights())
    codes = rng.normal(size=(5, 3))
    np.testing.assert_array_equal(again(codes), density.log_prob(codes))
    shaped = density.log_prob(codes[:4].reshape(2, 2, 3))
    np.testing.assert_allclose(shaped, density.log_prob(codes)[:4].numpy().reshape(2, 2), rtol=1e-5)
    assert keras.saving.get_registered_name(type(density)).startswith("tfdm>")


@pytest.mark.parametrize(
    "make",
    [
        lambda: DiagonalGaussianMixture(0),
        lambda: DiagonalGaussianMixture(2, 0),
        lambda: MaskedAutoregressiveFlow(2, num_flows=0),
        lambda: AutoregressiveLSTM(2, units=0),
    ],
)
def test_sizes_below_one_are_refused(make: Callable[[], Density]) -> None:
    with pytest.raises(ValueError, match="is 0, expected 1 or more"):
        make()


@pytest.mark.parametrize("of", [DiagonalGaussianMixture, MaskedAutoregressiveFlow])
def test_seeds_of_any_size_do_not_meet(of: type[Density]) -> None:
    starts, draws = [], []
    for seed in (0, 2**31, 2**32, 5, np.int32(5)):
        density = of(2, 4, seed=seed)
        starts.append(np.concatenate([np.ravel(weight) for weight in density.get_weights()]))
        density.set_weights([np.ones_like(weight) for weight in density.get_weights()])
        draws.append(density.sample(3, seed).numpy())
    for found in (starts, draws):
        np.testing.assert_array_equal(found[-1], found[-2])
        assert len({values.tobytes() for values in found}) == 4
