"""Tests of the marks of an output."""
