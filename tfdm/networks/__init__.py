"""The networks of Appendix K, as plain Keras models.

`tfdm.networks.images` chooses by the shape of the images; `tfdm.networks.code` works on codes.
"""
