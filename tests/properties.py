"""How hypothesis tries properties here; a plugin that the workspace's pyproject.toml loads.

A property says what holds and not how quickly: on a busy machine a time limit for one example
fails at random.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
