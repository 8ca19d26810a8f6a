"""Tests of lanrelay.setup."""
