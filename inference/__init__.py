"""Serving and watching live traffic: inference configs, calls, monitors."""

# Whoever uses any module of this app has its codes.
from inference import errors as errors
