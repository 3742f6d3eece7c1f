"""The commands: one module each, with its flags, one call and one printed table.

A module of a command imports TensorFlow only after its flags are checked.
"""
