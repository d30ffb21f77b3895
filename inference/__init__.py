"""Serving and watching live traffic: inference configs, calls, monitors."""
