"""Probability distributions: pixel likelihoods, posteriors, priors, trainable densities of codes.

Import from the modules: `from tfdm.distributions.pixels import Bernoulli`. Nothing is loaded here.
"""
