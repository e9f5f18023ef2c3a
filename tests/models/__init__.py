"""Tests of models: networks and safe loading."""
