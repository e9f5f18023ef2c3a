"""Tests of stages: what happens to a chunk."""
