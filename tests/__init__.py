"""Tests of tfdm: run with `python -m pytest`, the slow ones with `python -m pytest -m slow`."""
