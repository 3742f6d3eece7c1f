"""Whose variables a loss moves, and by which gradient.

The expected gradient of a player is taken here from its loss alone, written again with everything
that other players made held constant. Adam's first moment after one step is (1 - β₁) times the
gradient that was applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.model_cases import (
    BATCH_SIZE,
    OPTIONS,
    PLAYERS,
    FixedNoise,
    moving_variables,
    small_images,
    small_model,
    stir,
    values,
)
from tfdm.models.registry import MODELS
from tfdm.training.players import update_players

NAMES = sorted(MODELS)
IMAGES = tf.constant(small_images(BATCH_SIZE, seed=5) / 127.5 - 1.0, tf.float32)
BETA_1 = 0.5
Losses = dict[str, Callable[[], tf.Tensor]]


def prepared(name: str, seed: int, **options: Any) -> tuple[Any, FixedNoise]:
    """The same model, not special, and the same noise, for the same seed."""
    rng = np.random.default_rng(seed)
    model = small_model(name, **options)
    stir(model, rng)
    return model, FixedNoise(rng)


def mean_softplus(logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.math.softplus(logits))


def cross_entropy(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    return mean_softplus(-real) + mean_softplus(fake)


def constant(tensor: tf.Tensor) -> tf.Tensor:
    return tf.constant(tensor.numpy())


# --- The loss of every player, written again --------------------------------------------------


def vae_losses(model: Any, noise: FixedNoise) -> Losses:
    def codes_and_kl() -> tuple[tf.Tensor, tf.Tensor]:
        loc, raw = tf.split(model.encoder(IMAGES, training=True), 2, axis=1)
        scale = tf.math.softplus(raw + np.log(np.e - 1.0)) + 1e-4
        kl = 0.5 * (loc**2 + scale**2 - 1.0) - tf.math.log(scale)
        return loc + scale * noise.normal("posterior", [4]), tf.reduce_mean(tf.reduce_sum(kl, 1))

    def autoencoder() -> tf.Tensor:
        codes, kl = codes_and_kl()
        logits = model.generator(codes, training=True)
        pixels = (IMAGES + 1.0) / 2.0
        likelihood = tf.reduce_sum(pixels * logits - tf.math.softplus(logits), [1, 2, 3])
        marginal = tf.reduce_mean(-model.code_discriminator(codes))
        return kl - tf.reduce_mean(likelihood) + model.config.marginal_kl_weight * marginal

    def code_discriminator() -> tf.Tensor:
        return cross_entropy(
            model.code_discriminator(noise.normal("prior", [4])),
            model.code_discriminator(constant(codes_and_kl()[0])),
        )

    return {"autoencoder": autoencoder, "code_discriminator": code_discriminator}


def dcgan_losses(model: Any, noise: FixedNoise) -> Losses:
    def samples() -> tf.Tensor:
        return model.generator(noise.normal("prior", [4]), training=True)

    def discriminate(images: tf.Tensor, name: str) -> tf.Tensor:
        mask = noise.keep_mask(f"dropout_{name}", [4, 4, 8], model.config.dropout_rate)
        return model.discriminator([images, mask], training=True)

    return {
        "generator": lambda: mean_softplus(-discriminate(samples(), "fake")),
        "discriminator": lambda: cross_entropy(
            discriminate(IMAGES, "real"), discriminate(constant(samples()), "fake")
        ),
    }


def aae_losses(model: Any, noise: FixedNoise) -> Losses:
    def error(codes: tf.Tensor) -> tf.Tensor:
        squares = (IMAGES - model.generator(codes, training=True)) ** 2
        return tf.reduce_mean(tf.reduce_sum(squares, [1, 2, 3]))

    def codes() -> tf.Tensor:
        return model.encoder(IMAGES, training=True)

    def encoder() -> tf.Tensor:
        z = codes()
        return error(z) + mean_softplus(-model.code_discriminator(z))

    return {
        "encoder": encoder,
        "generator": lambda: error(constant(codes())),
        "code_discriminator": lambda: cross_entropy(
            model.code_discriminator(noise.normal("prior", [4])),
            model.code_discriminator(constant(codes())),
        ),
    }


def hybrid_losses(model: Any, noise: FixedNoise) -> Losses:
    """AAE++, and AAE-GAN with its terms on samples."""
    config, judges_samples = model.config, type(model).__name__ == "AAEGAN"

    def l1(codes: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.abs(IMAGES - model.generator(codes, training=True)))

    def encoder() -> tf.Tensor:
        codes = model.encoder(IMAGES, training=True)
        kl = tf.reduce_mean(-model.code_discriminator(codes))
        return config.encoder_reconstruction_weight * l1(codes) + kl

    def codes() -> tf.Tensor:
        return constant(model.encoder(IMAGES, training=True))

    def fakes() -> list[tf.Tensor]:
        made = [model.generator(codes(), training=True)]
        if judges_samples:
            made.append(model.generator(noise.normal("prior", [4]), training=True))
        return made

    def generator() -> tf.Tensor:
        adversarial = [
            tf.reduce_mean(-model.discriminator(images, training=True)) for images in fakes()
        ]
        return config.generator_reconstruction_weight * l1(codes()) + tf.add_n(adversarial)

    def discriminator() -> tf.Tensor:
        made = [constant(images) for images in fakes()]
        real = mean_softplus(-model.discriminator(IMAGES, training=True))
        fake = [mean_softplus(model.discriminator(images, training=True)) for images in made]
        return len(made) * real + tf.add_n(fake)

    return {
        "encoder": encoder,
        "generator": generator,
        "discriminator": discriminator,
        "code_discriminator": lambda: cross_entropy(
            model.code_discriminator(noise.normal("prior", [4])), model.code_discriminator(codes())
        ),
    }


def veegan_losses(model: Any, noise: FixedNoise) -> Losses:
    z = noise.normal("prior", [4])

    def samples() -> tf.Tensor:
        return model.generator(z, training=True)

    def code_error(images: tf.Tensor) -> tf.Tensor:
        distance = tf.abs(z - model.encoder(images, training=True))
        return tf.reduce_mean(tf.reduce_sum(distance, 1))

    def generator() -> tf.Tensor:
        images = samples()
        logits = model.discriminator([images, z], training=True)
        return tf.reduce_mean(-logits) + code_error(images)

    def reconstructor() -> tf.Tensor:
        codes = model.encoder(IMAGES, training=True)
        logits = model.discriminator([IMAGES, codes], training=True)
        weight = model.config.reconstructor_adversarial_weight
        return code_error(constant(samples())) + weight * tf.reduce_mean(logits)

    def discriminator() -> tf.Tensor:
        codes = constant(model.encoder(IMAGES, training=True))
        return cross_entropy(
            model.discriminator([IMAGES, codes], training=True),
            model.discriminator([constant(samples()), z], training=True),
        )

    return {
        "generator": generator,
        "reconstructor": reconstructor,
        "discriminator": discriminator,
    }


def wgan_gp_losses(model: Any, noise: FixedNoise) -> Losses:
    """Of the first critic step, and of the generator against the critic as it stands."""

    def critic() -> tf.Tensor:
        codes = noise.normal("critic_codes_0", [4])
        samples = constant(model.generator(codes, training=True))
        weight = noise.uniform("interpolation_0", [])[:, None, None, None]
        between = weight * IMAGES + (1.0 - weight) * samples
        with tf.GradientTape() as tape:
            tape.watch(between)
            scores = model.critic(between)
        norm = tf.sqrt(tf.reduce_sum(tape.gradient(scores, between) ** 2, [1, 2, 3]))
        distance = tf.reduce_mean(model.critic(samples)) - tf.reduce_mean(model.critic(IMAGES))
        return distance + model.config.gradient_penalty * tf.reduce_mean((norm - 1.0) ** 2)

    def generator() -> tf.Tensor:
        samples = model.generator(noise.normal("generator_codes", [4]), training=True)
        return -tf.reduce_mean(model.critic(samples))

    return {"critic": critic, "generator": generator}


WRITTEN_AGAIN: dict[str, tuple[dict[str, Any], Callable[[Any, FixedNoise], Losses]]] = {
    "vae": ({"marginal_kl_weight": 3.0}, vae_losses),
    "dcgan": ({}, dcgan_losses),
    "wgan_gp": ({"critic_steps": 1}, wgan_gp_losses),
    "aae": ({}, aae_losses),
    "veegan": ({"reconstructor_adversarial_weight": 0.7}, veegan_losses),
    "aae_plus_plus": ({}, hybrid_losses),
    "aae_gan": ({}, hybrid_losses),
}


def players_of(model: Any) -> dict[str, Any]:
    return {player.name: player for player in model.players}


def gradient_of(loss: Callable[[], tf.Tensor], variables: list[Any]) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        value = loss()
    return [gradient.numpy() for gradient in tape.gradient(value, variables)]


def applied_gradients(player: Any) -> list[np.ndarray]:
    """What the player's optimiser was given in its first step."""
    assert int(player.optimizer.iterations.numpy()) == 1
    moments = [v for v in player.optimizer.variables if "momentum" in v.path]
    assert len(moments) == len(player.variables)
    return [moment.numpy() / (1.0 - BETA_1) for moment in moments]


def assert_gradients_agree(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """To rounding, which is relative to the largest gradient of the network."""
    largest = max(np.abs(gradient).max() for gradient in expected)
    assert largest > 1e-6
    for first, second in zip(actual, expected, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5 * largest)


# --- Tests ----------------------------------------------------------------------------------


def test_every_registered_model_is_covered():
    assert set(WRITTEN_AGAIN) == set(MODELS) == set(PLAYERS) == set(OPTIONS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_every_trainable_variable_belongs_to_one_player(name, ema_decay):
    model = small_model(name, ema_decay=ema_decay)
    assert tuple(player.name for player in model.players) == PLAYERS[name]
    assert tuple(model.optimizers) == PLAYERS[name]
    owned = [id(variable) for player in model.players for variable in player.variables]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(variable) for variable in model.trainable_variables}
    for player in model.players:
        assert player.optimizer is model.optimizers[player.name]


@pytest.mark.parametrize("name", NAMES)
def test_each_player_is_given_the_gradient_of_its_own_loss_alone(name, seed):
    """The discriminators' gradients do not reach encoder and generator, nor the other way."""
    options, write = WRITTEN_AGAIN[name]
    model, noise = prepared(name, seed, **options)
    model.update(IMAGES, noise)
    reference, same_noise = prepared(name, seed, **options)
    losses = write(reference, same_noise)
    players = players_of(reference)
    assert set(losses) == set(players)
    for player in model.players:
        if name == "wgan_gp" and player.name == "generator":
            # The critic moves first.
            for variable, moved in zip(
                reference.critic.variables, model.critic.variables, strict=True
            ):
                variable.assign(moved.value)
        expected = gradient_of(losses[player.name], players[player.name].variables)
        assert_gradients_agree(applied_gradients(player), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_player_alone_moves_its_own_variables_and_no_other(name, seed):
    model, noise = prepared(name, seed, **WRITTEN_AGAIN[name][0])
    for player in model.players:
        before = values(model.trainable_variables)
        with tf.GradientTape(persistent=True) as tape:
            if name == "wgan_gp":
                losses = {
                    "critic": model.critic_loss(IMAGES, noise, 0)[0],
                    "generator": model.generator_loss(noise),
                }
            else:
                losses, _ = model.losses(IMAGES, noise, training=True)
        update_players(tape, [player], losses)
        after = values(model.trainable_variables)
        moved = {
            variable.path
            for variable, old, new in zip(model.trainable_variables, before, after, strict=True)
            if np.any(old != new)
        }
        own = {variable.path for variable in player.variables}
        can_move = {variable.path for variable in moving_variables(model)}
        assert moved == own & can_move, player.name


@pytest.mark.parametrize("name", ["aae_plus_plus", "aae_gan"])
def test_sequential_updates_follow_the_order_of_algorithm_4(name, seed):
    """Encoder, generator, discriminator, code discriminator, each seeing those before it moved."""
    order = ("encoder", "generator", "discriminator", "code_discriminator")
    sequential, noise = prepared(name, seed, updates="sequential")
    terms = sequential.update(IMAGES, noise)

    def one_by_one(order: tuple[str, ...]) -> tuple[Any, dict[str, float]]:
        model, noise = prepared(name, seed)
        losses, players, logged = hybrid_losses(model, noise), players_of(model), {}
        for player in (players[key] for key in order):
            with tf.GradientTape() as tape:
                loss = losses[player.name]()
            player.optimizer.apply(tape.gradient(loss, player.variables), player.variables)
            logged[f"{player.name}_loss"] = float(loss)
        return model, logged

    def distance(first: Any, second: Any) -> float:
        pairs = zip(first.trainable_variables, second.trainable_variables, strict=True)
        return max(np.abs(a.numpy() - b.numpy()).max() for a, b in pairs)

    expected, logged = one_by_one(order)
    for player in sequential.players:
        other = players_of(expected)[player.name]
        assert_gradients_agree(applied_gradients(player), applied_gradients(other))
    # The losses that are logged are those that moved the players.
    for key, loss in logged.items():
        assert float(terms[key]) == pytest.approx(loss, rel=1e-4)

    simultaneous, noise = prepared(name, seed)
    simultaneous.update(IMAGES, noise)
    reversed_order, _ = one_by_one(order[::-1])
    for other in (simultaneous, reversed_order):
        gradients = [applied_gradients(players_of(m)["generator"]) for m in (other, expected)]
        largest = max(np.abs(gradient).max() for gradient in gradients[1])
        gap = max(np.abs(a - b).max() for a, b in zip(*gradients, strict=True))
        assert gap > 1e-3 * largest
    assert distance(sequential, simultaneous) > 1e-5
