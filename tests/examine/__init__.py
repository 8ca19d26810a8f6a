"""Tests of L{lanrelay.examine}."""
