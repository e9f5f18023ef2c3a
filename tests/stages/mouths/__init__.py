"""Tests of the lip engines."""
