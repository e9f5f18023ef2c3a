"""Tests of face tracking."""
