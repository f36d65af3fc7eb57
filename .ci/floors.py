"""The lowest versions that the packages say they work with, as constraints for pip."""

from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


def floors(requirements: Iterable[str], *, own: Iterable[str]) -> list[str]:
    """Pin each direct requirement to its lowest version.

    Args:
        requirements: as in a project file; one named twice gets the higher floor.
        own: the names of this repository's own distributions, which are not pinned.

    Returns:
        Lines for a constraints file, sorted by name.

    Raises:
        ValueError: a requirement has no `>=`, so its lowest version is anybody's guess.
    """
    own_names = {canonicalize_name(name) for name in own}
    lowest: dict[str, Version] = {}
    for text in requirements:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name not in own_names:
            floor = _floor(requirement)
            lowest[name] = max(floor, lowest.get(name, floor))
    return [f"{name}=={version}" for name, version in sorted(lowest.items())]


def _floor(requirement: Requirement) -> Version:
    """Read the version after `>=`."""
    bounds = [Version(item.version) for item in requirement.specifier if item.operator == ">="]
    if not bounds:
        message = (
            f"requirement {str(requirement)!r} has no floor: write it as {requirement.name}>=X.Y"
        )
        raise ValueError(message)
    return max(bounds)
