"""Engines: the arithmetic of one mini-batch, under the same names in every module."""
