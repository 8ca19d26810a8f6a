"""
Hypothesis, with time out of the question: C{given}, C{example} and C{settings} are imported from here.

Its health check C{too_slow} and its deadline measure the machine. On a busy one both fail, and nothing is
wrong with the test or the code.
"""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings

__all__ = ["HealthCheck", "example", "given", "settings"]

settings.register_profile("lanrelay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lanrelay")
