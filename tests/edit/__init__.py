"""Tests of lanrelay.edit."""
