"""Classifiers of images: network, training, and the weights that come with the package."""
