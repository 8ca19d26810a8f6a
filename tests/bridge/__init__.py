"""Tests of lanrelay.bridge."""
