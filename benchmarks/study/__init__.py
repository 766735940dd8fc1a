"""Experiments whose results chapters quote."""
