from __future__ import annotations

from hypothesis import HealthCheck, settings

# How quick an example is says how busy the machine is: no test fails by that. pytest has the limit for a whole test.
settings.register_profile("corten", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("corten")
