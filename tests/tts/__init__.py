"""Tests of speech from text."""
