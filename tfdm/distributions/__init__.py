"""Probability distributions: pixel likelihoods, posteriors and priors.

Import from the modules: `from tfdm.distributions.pixels import Bernoulli`. Nothing is loaded here.
"""
