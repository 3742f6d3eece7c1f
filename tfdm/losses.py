"""The losses of the players: functions of a discriminator's logits, and reconstruction errors.

Label 1 is data (in data space) or prior (in code space), label 0 is model or posterior, throughout
the project. A logit l estimates log(data or prior density) - log(model or posterior density), and
D = sigmoid(l) is the probability of label 1 (equation 7 of the paper with p1 on top).

A function works element by element on logits of any shape, unless it says that it averages. All
compute in float32 at least and are finite, with finite gradients, for |l| up to 1e4 and beyond.
Units are nats.

The three generator losses differ in the weight of a sample. The saturating one vanishes where the
discriminator rejects it (D -> 0), the non-saturating one where it takes it for real (D -> 1), the
reverse KL, their sum, nowhere.
"""

import tensorflow as tf

from tfdm.numerics import at_least_float32, require_same_shape


def real_cross_entropy(logits: tf.Tensor) -> tf.Tensor:
    """-log D in [0, inf), the cross entropy of label 1 (data or prior), derivative D - 1 in l."""
    return tf.nn.softplus(-at_least_float32(logits, "logits"))


def fake_cross_entropy(logits: tf.Tensor) -> tf.Tensor:
    """-log(1 - D) in [0, inf), the cross entropy of label 0 (model or posterior), derivative D."""
    return tf.nn.softplus(at_least_float32(logits, "logits"))


def discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """mean(-log D(real)) + mean(-log(1 - D(fake))), a scalar (equation 13, Algorithm 4 step 9).

    2 log 2 for logits of zero, and 2 log 2 - 2 JS[real || fake] at the optimum.
    """
    real, fake = real_cross_entropy(real_logits), fake_cross_entropy(fake_logits)
    return tf.reduce_mean(real) + tf.reduce_mean(fake)


def non_saturating_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Generator loss -log D in [0, inf) (Goodfellow et al. 2014; section 3 of the paper)."""
    return real_cross_entropy(fake_logits)


def saturating_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Generator loss log(1 - D) in (-inf, 0] of the zero-sum game (section 3)."""
    return -fake_cross_entropy(fake_logits)


def reverse_kl_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Generator loss R = -log D + log(1 - D) = -l (Algorithm 4 steps 3 and 4; section 5).

    At the optimal discriminator its expectation under the model is KL[model || data] (or
    KL[q(z) || p(z)] for codes), and its gradient through samples is that of the divergence: the
    term that a fixed ratio leaves out, the expectation of the model's score, is zero.
    """
    return -at_least_float32(fake_logits, "logits")


def kl_from_model_logits(fake_logits: tf.Tensor) -> tf.Tensor:
    """Estimate of KL[model || data] or KL[q(z) || p(z)], a scalar (Algorithm 2, lines 6 to 11).

    The mean of -l over samples of the model, which may be negative.
    """
    return tf.reduce_mean(reverse_kl_loss(fake_logits))


def wasserstein_critic_loss(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """mean(critic(fake)) - mean(critic(real)), a scalar, without penalty (Arjovsky et al. 2017).

    Minus the Wasserstein-1 distance for a 1-Lipschitz critic at its optimum.
    """
    real_scores = at_least_float32(real_scores, "real_scores")
    fake_scores = at_least_float32(fake_scores, "fake_scores")
    return tf.reduce_mean(fake_scores) - tf.reduce_mean(real_scores)


def wasserstein_generator_loss(fake_scores: tf.Tensor) -> tf.Tensor:
    """Generator loss -critic(fake), derivative -1 (Arjovsky et al. 2017)."""
    return -at_least_float32(fake_scores, "fake_scores")


def real_accuracy(real_logits: tf.Tensor) -> tf.Tensor:
    """Fraction of data or prior samples with a positive logit, scalar in [0, 1]; zeros are half."""
    return tf.reduce_mean(0.5 + 0.5 * tf.sign(at_least_float32(real_logits, "real_logits")))


def fake_accuracy(fake_logits: tf.Tensor) -> tf.Tensor:
    """Fraction of model or posterior samples with a negative logit, scalar in [0, 1]."""
    return tf.reduce_mean(0.5 - 0.5 * tf.sign(at_least_float32(fake_logits, "fake_logits")))


def discriminator_accuracy(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Mean of `real_accuracy` and `fake_accuracy`, scalar in [0, 1]; 0.5 is chance."""
    return 0.5 * (real_accuracy(real_logits) + fake_accuracy(fake_logits))


def reconstruction_error(
    originals: tf.Tensor, reconstructions: tf.Tensor, norm: str, reduction: str
) -> tf.Tensor:
    """Returns the error of each example, [B], of two arrays [B, ...].

    The `norm` is `l1`, |a − b|, or `squared`, (a − b)². The `reduction` over an example's elements
    is `sum`, which stands beside a KL divergence in nats, or `mean`, which does not grow with the
    image. `ValueError` where the shapes differ, or `norm` or `reduction` is none of these.
    """
    norms = {"l1": tf.abs, "squared": tf.square}
    reductions = {"sum": tf.reduce_sum, "mean": tf.reduce_mean}
    if norm not in norms:
        raise ValueError(f"norm is {norm!r}, expected one of {', '.join(norms)}")
    if reduction not in reductions:
        raise ValueError(f"reduction is {reduction!r}, expected one of {', '.join(reductions)}")
    originals = at_least_float32(originals, "originals")
    reconstructions = at_least_float32(reconstructions, "reconstructions")
    require_same_shape(originals=originals, reconstructions=reconstructions)
    errors = norms[norm](originals - reconstructions)
    return reductions[reduction](errors, axis=list(range(1, errors.shape.rank)))
