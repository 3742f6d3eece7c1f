"""How good generated images are: features of images apart from statistics of features.

The wing of image quality. A statistic is a pure function of arrays (logits, features, images)
and knows no model; what turns images into features is passed in. It holds no measure yet.
"""

__all__: list[str] = []
