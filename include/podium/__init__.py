"""Podium: takes a model from training data to the version that serves, and back again when it must."""
