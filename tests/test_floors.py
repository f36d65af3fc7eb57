"""The lowest versions: read from the requirements, and nothing is guessed."""

import pytest

from floors import floors


def test_floors_pins_each_requirement_to_its_lowest_version() -> None:
    """Extras, upper ends and the order of the clauses do not matter."""
    requirements = ["pluggy<2,>=1.5", "Rich>=13.7", "coverage[toml]>=7.10"]

    assert floors(requirements, own=()) == ["coverage==7.10", "pluggy==1.5", "rich==13.7"]


def test_floors_takes_the_higher_one_when_a_name_comes_twice() -> None:
    """Both requirements must hold at once; versions are compared as versions."""
    assert floors(["a>=2.10", "A>=2.9"], own=()) == ["a==2.10"]


def test_floors_leaves_out_our_own_distributions() -> None:
    """They are installed from the checkout."""
    assert floors(["enlist>=0.1,<1", "kazoo>=2.11"], own=["enlist"]) == ["kazoo==2.11"]


def test_floors_refuses_a_requirement_without_a_floor() -> None:
    """Its lowest version would be anybody's guess."""
    with pytest.raises(ValueError, match=r"'kazoo<3' has no floor: write it as kazoo>=X\.Y"):
        floors(["kazoo<3"], own=())
