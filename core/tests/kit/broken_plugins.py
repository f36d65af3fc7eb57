"""Every plugin that is broken on purpose, and the rule by which the kit has to find it."""

from core.tests.kit import broken_keeping, broken_registering, broken_resolving
from core.tests.kit.memory_plugin import MemoryRegistry

BREAKS: dict[type[MemoryRegistry], str] = {
    **broken_registering.BREAKS,
    **broken_keeping.BREAKS,
    **broken_resolving.BREAKS,
}
"""The rule that each of them breaks."""
