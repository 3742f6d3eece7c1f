"""Losses and terms of every model, written again from the paper in NumPy; 1 is data or prior."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.loss_cases import (
    BYTES,
    IMAGES,
    accuracy,
    agree,
    caller,
    computed,
    infer,
    loc_and_scale,
    minus_log_d,
    minus_log_one_minus_d,
    prepared,
    softplus,
)
from tests.mmd_cases import unbiased_mmd
from tests.model_cases import BATCH_SIZE, LATENT_DIM, FixedNoise, small_images, small_model, stir

MODES = pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])


# --- VAE ----------------------------------------------------------------------------------


def vae_likelihood(model: Any, logits: np.ndarray, noise: FixedNoise) -> float:
    if model.config.likelihood == "bernoulli":
        pixels = BYTES / 255.0
        return (pixels * logits - softplus(logits)).sum((1, 2, 3)).mean()
    mean, scale = 1.0 / (1.0 + np.exp(-logits)), np.float64(model.likelihood.scale.numpy())
    dequantized = (BYTES + noise.drawn["dequantization"].astype(np.float64)) / 256.0
    density = -0.5 * ((dequantized - mean) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    return (density - math.log(256.0)).sum((1, 2, 3)).mean()


@MODES
@pytest.mark.parametrize(
    "options",
    [
        {"beta": 0.3},
        {"likelihood": "quantized_normal"},
        {"likelihood": "quantized_normal", "scale_sharing": "pixel", "marginal_kl_weight": 2.5},
        {"beta": 4.0, "marginal_kl_weight": 10.0},
    ],
)
def test_vae(rng, training, options):
    model, noise = prepared("vae", rng, **options)
    losses, terms = computed(model, noise, training)
    call = caller(training)
    loc, scale = loc_and_scale(call(model.encoder, IMAGES))
    codes = loc + scale * noise.drawn["posterior"]
    likelihood = vae_likelihood(model, call(model.generator, codes), noise)
    kl = (0.5 * (loc**2 + scale**2 - 1.0) - np.log(scale)).sum(1).mean()
    assert kl > 0.1
    config = model.config
    expected = {"autoencoder": -likelihood + config.beta * kl}
    expected_terms = {"log_likelihood": likelihood, "kl": kl, "bound": likelihood - kl}
    if config.marginal_kl_weight:
        prior = call(model.code_discriminator, noise.drawn["prior"])
        posterior = call(model.code_discriminator, codes)
        # log q(z) - log p(z) is minus the logit.
        expected["autoencoder"] += config.marginal_kl_weight * (-posterior).mean()
        expected["code_discriminator"] = minus_log_d(prior) + minus_log_one_minus_d(posterior)
        expected_terms["marginal_kl_estimate"] = (-posterior).mean()
        expected_terms["code_discriminator_accuracy"] = accuracy(prior, posterior)
    agree(losses, expected)
    agree(terms, expected_terms)


# --- GANs ---------------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("generator_loss", ["non_saturating", "saturating", "reverse_kl"])
@pytest.mark.parametrize("image_size", [28, 32])
def test_dcgan(rng, training, generator_loss, image_size):
    shape = (image_size, image_size, 3)
    model = small_model("dcgan", image_shape=shape, generator_loss=generator_loss)
    stir(model, rng)
    noise, call = FixedNoise(rng), caller(training)
    images = (small_images(BATCH_SIZE, shape) / 127.5 - 1.0).astype(np.float32)
    losses, terms = model.player_losses(tf.constant(images), noise, training)
    samples = call(model.generator, noise.drawn["prior"])
    masks = [[], []]
    if image_size == 28:
        masks = [[noise.drawn[f"dropout_{kind}"]] for kind in ("real", "fake")]
        assert bool(np.any(masks[0][0] == 0.0)) == training
        assert np.array_equal(*[mask[0] for mask in masks]) != training
    real = call(model.discriminator, images, *masks[0])
    fake = call(model.discriminator, samples, *masks[1])
    generator = {
        "non_saturating": softplus(-fake),
        "saturating": -softplus(fake),
        "reverse_kl": softplus(-fake) - softplus(fake),
    }[generator_loss]
    discriminator = minus_log_d(real) + minus_log_one_minus_d(fake)
    agree(losses, {"generator": generator.mean(), "discriminator": discriminator})
    agree(terms, {"discriminator_accuracy": accuracy(real, fake)})


@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_wgan_gp(rng, normalization):
    model, noise = prepared(
        "wgan_gp", rng, gradient_penalty=7.0, critic_normalization=normalization
    )
    loss, terms = model.critic_loss(tf.constant(IMAGES), noise, 1)
    call = caller(training=True)
    samples = call(model.generator, noise.drawn["critic_codes_1"])
    weight = noise.drawn["interpolation_1"][:, None, None, None]
    between = tf.constant(weight * IMAGES + (1 - weight) * samples, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(between)
        scores = model.critic(between, training=True)
    gradient = tape.gradient(scores, between).numpy().astype(np.float64)
    penalty = ((np.sqrt((gradient**2).sum((1, 2, 3))) - 1.0) ** 2).mean()
    real, fake = call(model.critic, IMAGES).mean(), call(model.critic, samples).mean()
    assert abs(real - fake) > 1e-3 and penalty > 1e-3
    agree({"critic": loss}, {"critic": fake - real + 7.0 * penalty})
    agree(terms, {"wasserstein_estimate": real - fake, "gradient_penalty": penalty})

    generator_loss = model.generator_loss(noise)
    samples = call(model.generator, noise.drawn["generator_codes"])
    agree({"g": generator_loss}, {"g": -call(model.critic, samples).mean()})


def test_wgan_gp_warns_where_its_critic_sees_one_batch() -> None:
    model = small_model("wgan_gp", critic_steps=2)
    images = tf.constant(small_images(2))
    with pytest.warns(UserWarning, match=r"see the same images: \[B, 2, H, W, C\] are 2 batches"):
        model.train_step(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.train_step(tf.stack([images, images], axis=1))


def test_wgan_gp_takes_five_critic_steps_on_batches_and_noise_of_their_own(rng, monkeypatch):
    model = small_model("wgan_gp", critic_steps=5)
    assert model.batches_per_step == 5
    batches = rng.uniform(-1, 1, [2, 5, 28, 28, 3]).astype(np.float32)
    noise, seen, original = FixedNoise(rng, batch_size=2), [], model.critic_loss

    def spy(images: tf.Tensor, noise: FixedNoise, index: int) -> Any:
        before = [v.numpy() for v in model.critic.trainable_variables]
        seen.append((images.numpy(), before))
        return original(images, noise, index)

    monkeypatch.setattr(model, "critic_loss", spy)
    model.update(tf.constant(batches), noise)
    np.testing.assert_array_equal(np.stack([images for images, _ in seen], axis=1), batches)
    # Every step starts from where the one before it ended.
    for (_, before), (_, after) in zip(seen, seen[1:], strict=False):
        assert any(np.any(a != b) for a, b in zip(before, after, strict=True))
    expected = {f"{kind}_{i}" for i in range(5) for kind in ("critic_codes", "interpolation")}
    assert set(noise.drawn) == expected | {"generator_codes"}
    assert int(model.optimizers["critic"].iterations.numpy()) == 5
    assert int(model.optimizers["generator"].iterations.numpy()) == 1


# --- Autoencoders ---------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoder": "gaussian", "reconstruction_weight": 0.25},
        {"encoder": "implicit", "reconstruction_reduction": "mean"},
    ],
)
def test_aae(rng, training, options):
    model, noise = prepared("aae", rng, **options)
    losses, terms = computed(model, noise, training)
    call = caller(training)
    codes = infer(call, model, IMAGES, noise.drawn["posterior"])
    reconstructions = call(model.generator, codes)
    errors = ((IMAGES - reconstructions) ** 2).reshape(BATCH_SIZE, -1)
    error = getattr(errors, model.config.reconstruction_reduction)(axis=1).mean()
    prior, posterior = (call(model.code_discriminator, z) for z in (noise.drawn["prior"], codes))
    weighted = model.config.reconstruction_weight * error
    expected = {
        "encoder": weighted + minus_log_d(posterior),
        "generator": weighted,
        "code_discriminator": minus_log_d(prior) + minus_log_one_minus_d(posterior),
    }
    agree(losses, expected)
    expected_terms = {
        "reconstruction_error": error,
        "code_adversarial": minus_log_d(posterior),
        "code_discriminator_accuracy": accuracy(prior, posterior),
    }
    agree(terms, expected_terms)


@MODES
@pytest.mark.parametrize("name", ["aae_plus_plus", "aae_gan"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoder": "gaussian", "weights": (5.0, 10.0)},
        {"encoder": "implicit", "reconstruction_reduction": "sum", "weights": (0.01, 0.02)},
    ],
)
def test_aae_plus_plus_and_aae_gan(rng, training, name, options):
    """Algorithm 4; R = -log D + log(1 - D)."""
    names = ("encoder_reconstruction_weight", "generator_reconstruction_weight")
    options = dict(options)
    options |= dict(zip(names, options.pop("weights", ()), strict=False))
    model, noise = prepared(name, rng, **options)
    losses, terms = computed(model, noise, training)
    call, config = caller(training), model.config
    codes = infer(call, model, IMAGES, noise.drawn["posterior"])
    reconstructions = call(model.generator, codes)
    errors = np.abs(IMAGES - reconstructions).reshape(BATCH_SIZE, -1)
    l1 = getattr(errors, config.reconstruction_reduction)(axis=1).mean()
    prior, posterior = (call(model.code_discriminator, z) for z in (noise.drawn["prior"], codes))
    data = call(model.discriminator, IMAGES)
    reconstructed = call(model.discriminator, reconstructions)

    def r(logits: np.ndarray) -> float:
        return (softplus(-logits) - softplus(logits)).mean()

    generator = config.generator_reconstruction_weight * l1 + r(reconstructed)
    discriminator = minus_log_d(data) + minus_log_one_minus_d(reconstructed)
    expected_terms = {
        "reconstruction_l1": l1,
        "code_kl_estimate": r(posterior),
        "reconstruction_adversarial": r(reconstructed),
        "code_discriminator_accuracy": accuracy(prior, posterior),
        "discriminator_accuracy": accuracy(data, reconstructed),
    }
    if name == "aae_gan":
        sampled = call(model.discriminator, call(model.generator, noise.drawn["prior"]))
        generator += r(sampled)
        discriminator += minus_log_d(data) + minus_log_one_minus_d(sampled)
        expected_terms["sample_adversarial"] = r(sampled)
        fakes = np.concatenate([reconstructed, sampled])
        expected_terms["discriminator_accuracy"] = accuracy(data, fakes)
    expected = {
        "encoder": config.encoder_reconstruction_weight * l1 + r(posterior),
        "generator": generator,
        "discriminator": discriminator,
        "code_discriminator": minus_log_d(prior) + minus_log_one_minus_d(posterior),
    }
    agree(losses, expected)
    agree(terms, expected_terms)


# --- VEEGAN ---------------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reconstructor_adversarial_weight": 0.7, "encoder": "gaussian"},
        {"code_reconstruction_weight": 3.0, "reconstruction_reduction": "mean",
         "encoder": "implicit"},
    ],
)  # fmt: skip
def test_veegan(rng, training, options):
    model, noise = prepared("veegan", rng, **options)
    losses, terms = computed(model, noise, training)
    call, config = caller(training), model.config
    codes = noise.drawn["prior"].astype(np.float64)
    samples = call(model.generator, codes)
    data_codes = infer(call, model, IMAGES, noise.drawn["posterior"])
    sample_codes = infer(call, model, samples, noise.drawn["reconstruction"])
    data = call(model.discriminator, IMAGES, data_codes)
    sampled = call(model.discriminator, samples, codes)

    errors = np.abs(codes - sample_codes)
    error = getattr(errors, config.reconstruction_reduction)(axis=1).mean()
    # KL of the model's pairs from the data's pairs: minus the logit of pairs of the model.
    kl = (-sampled).mean()
    entropy = 0.5 * LATENT_DIM * math.log(2.0 * math.pi * math.e)
    weighted = config.code_reconstruction_weight * error
    expected = {
        "generator": kl + weighted,
        "reconstructor": weighted + config.reconstructor_adversarial_weight * data.mean(),
        "discriminator": minus_log_d(data) + minus_log_one_minus_d(sampled),
    }
    agree(losses, expected)
    expected_terms = {
        "joint_kl_estimate": kl,
        "code_reconstruction_error": error,
        # Eq. 14: the L1 norm with weight 1 whatever the weight of the loss.
        "bound": kl + entropy + errors.sum(axis=1).mean(),
        "discriminator_accuracy": accuracy(data, sampled),
    }
    agree(terms, expected_terms)


# --- ALI, AVB, WAE --------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("encoder", ["deterministic", "gaussian", "implicit"])
def test_ali(rng, training, encoder):
    model, noise = prepared("ali", rng, encoder=encoder)
    losses, terms = computed(model, noise, training)
    call = caller(training)
    codes = infer(call, model, IMAGES, noise.drawn["posterior"])
    samples = call(model.generator, noise.drawn["prior"])
    data = call(model.discriminator, IMAGES, codes)
    sampled = call(model.discriminator, samples, noise.drawn["prior"])
    expected = {
        "encoder": minus_log_one_minus_d(data),
        "generator": minus_log_d(sampled),
        "discriminator": minus_log_d(data) + minus_log_one_minus_d(sampled),
    }
    agree(losses, expected)
    agree(
        terms,
        {
            "joint_kl_estimate": (-sampled).mean(),
            "discriminator_accuracy": accuracy(data, sampled),
        },
    )


def log_standard_normal(codes: np.ndarray) -> np.ndarray:
    return -0.5 * (codes**2 + math.log(2.0 * math.pi)).sum(-1)


@MODES
@pytest.mark.parametrize("log_prior", [True, False])
@pytest.mark.parametrize("contrast", [False, True])
def test_avb(rng, training, log_prior, contrast):
    likelihood = "bernoulli" if log_prior else "quantized_normal"
    options = {"adaptive_contrast": contrast, "log_prior_in_adversary": log_prior}
    model, noise = prepared("avb", rng, likelihood=likelihood, contrast_samples=5, **options)
    losses, terms = computed(model, noise, training)
    call = caller(training)
    codes = call(model.encoder, IMAGES, noise.drawn["posterior"])
    judged, known = codes, 0.0
    against = noise.drawn["contrast" if contrast else "prior"].astype(np.float64)
    if contrast:
        drawn = noise.drawn["moments"].swapaxes(0, 1)
        draws = np.stack([call(model.encoder, IMAGES, epsilon) for epsilon in drawn])
        loc, scale = draws.mean(0), np.sqrt(draws.var(0) + 1e-4)
        judged = (codes - loc) / scale
        log_r = log_standard_normal(judged) - np.log(scale).sum(1)
        known = log_r - log_standard_normal(codes)
    ratios = [call(model.adversary, IMAGES, z) for z in (judged, against)]
    if log_prior:
        pairs = zip(ratios, (judged, against), strict=True)
        ratios = [ratio - log_standard_normal(z) for ratio, z in pairs]
    kl = (ratios[0] + known).mean()
    log_likelihood = vae_likelihood(model, call(model.generator, codes), noise)
    expected = {
        "autoencoder": kl - log_likelihood,
        # The prior's pairs have label 1, and the logit is -T.
        "adversary": minus_log_d(-ratios[1]) + minus_log_one_minus_d(-ratios[0]),
    }
    agree(losses, expected)
    expected_terms = {
        "bound_estimate": log_likelihood - kl,
        "log_likelihood": log_likelihood,
        "kl_estimate": kl,
        "adversary_accuracy": accuracy(-ratios[1], -ratios[0]),
    }
    agree(terms, expected_terms)


@MODES
@pytest.mark.parametrize("options", [{}, {"penalty": "gan", "penalty_weight": 3.0}])
def test_wae(rng, training, options):
    model, noise = prepared("wae", rng, **options)
    losses, terms = computed(model, noise, training)
    call = caller(training)
    codes, prior = call(model.encoder, IMAGES), noise.drawn["prior"]
    error = ((IMAGES - call(model.generator, codes)) ** 2).sum((1, 2, 3)).mean()
    expected_terms = {"reconstruction_error": error}
    if options:
        logits, prior_logits = (call(model.code_discriminator, z) for z in (codes, prior))
        penalty = minus_log_d(logits)
        expected_terms["code_adversarial"] = penalty
        expected_terms["code_discriminator_accuracy"] = accuracy(prior_logits, logits)
    else:
        assert model.config.penalty_weight == 800.0
        penalty = expected_terms["code_mmd"] = unbiased_mmd(prior, codes)
    expected = {"autoencoder": error + model.config.penalty_weight * penalty}
    if options:
        expected["code_discriminator"] = minus_log_d(prior_logits) + minus_log_one_minus_d(logits)
    agree(losses, expected)
    agree(terms, expected_terms)
