"""Tests of the media floor."""
