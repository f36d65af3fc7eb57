"""The pure part of a live view: what stays, what is held, what is dropped [V3, V4, V8]."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from enlist.finding.view import Snapshot, View
from enlist.info import Info

HOLD_S = 25.0
A, B, C = (Info(service_name="echo", addr=f"10.0.0.{n}:80") for n in (1, 2, 3))


def seen(view: View, *infos: Info, at: float = 0.0, trusted: bool = True) -> bool:
    return view.update(infos, now=at, hold_s=HOLD_S, trusted=trusted)


def test_view_before_any_list_is_empty_stale_and_unlisted() -> None:
    """Before the first list nothing is known, and the view says so."""
    assert View().snapshot == Snapshot(instances=(), stale=True, held=(), listed=False)


def test_update_with_an_empty_first_list_is_fresh_knowledge() -> None:
    """A service that nobody registered is known to be empty after the first list."""
    view = View()
    assert seen(view)
    assert view.snapshot == Snapshot(instances=(), stale=False, held=(), listed=True)


def test_update_of_a_live_watch_drops_at_once_what_is_gone() -> None:
    """What a live watch reports gone is dropped at once."""
    view = View()
    seen(view, A, B)
    assert seen(view, B)
    assert view.snapshot == Snapshot((B,), stale=False, held=(), listed=True)


def test_update_with_an_equal_list_keeps_the_snapshot() -> None:
    """A list in another order, or of newly decoded records, is no change."""
    view = View()
    seen(view, A, B)
    before = view.snapshot
    assert not seen(view, B, Info(service_name="echo", addr="10.0.0.1:80"))
    assert view.snapshot is before


def test_update_with_a_changed_weight_is_a_change() -> None:
    """A changed field of a known instance replaces it."""
    view = View()
    seen(view, A)
    heavier = Info(service_name="echo", addr="10.0.0.1:80", weight=99)
    assert seen(view, heavier)
    assert view.snapshot.instances[0].weight == 99


def test_update_with_one_identity_twice_keeps_the_last() -> None:
    """Two records of one identity are one instance."""
    view = View()
    seen(view, A, Info(service_name="echo", addr="10.0.0.1:80", weight=99))
    assert [info.weight for info in view.snapshot.instances] == [99]


def test_doubt_keeps_the_list_and_marks_it_stale() -> None:
    """An error never empties the view; it marks it stale."""
    view = View()
    seen(view, A)
    assert view.doubt()
    assert view.snapshot == Snapshot((A,), stale=True, held=(), listed=True)


def test_doubt_again_changes_nothing() -> None:
    """A second error in a row is no second change."""
    view = View()
    seen(view, A)
    view.doubt()
    assert not view.doubt()


def test_update_after_doubt_holds_what_is_missing() -> None:
    """After a failure the instances missing from the first list stay, and are named as held."""
    view = View()
    seen(view, A, B)
    view.doubt()
    seen(view, B, at=100.0)
    assert view.snapshot == Snapshot((B, A), stale=False, held=(A,), listed=True)
    assert view.expires_at == 100.0 + HOLD_S


def test_expire_drops_the_held_when_their_time_is_over_and_not_before() -> None:
    """The hold ends after exactly its seconds."""
    view = View()
    seen(view, A, B)
    view.doubt()
    seen(view, B, at=100.0)
    assert not view.expire(100.0 + HOLD_S - 0.001)
    assert view.snapshot.held == (A,)
    assert view.expire(100.0 + HOLD_S)
    assert view.snapshot == Snapshot((B,), stale=False, held=(), listed=True)
    assert view.expires_at == math.inf


def test_update_with_a_hold_of_nothing_drops_at_once() -> None:
    """Whoever sets no hold gets what the backend says."""
    view = View()
    seen(view, A, B)
    view.doubt()
    assert view.update([B], now=1.0, hold_s=0.0, trusted=True)
    assert view.snapshot.instances == (B,)


def test_update_drops_at_once_what_came_back_and_left() -> None:
    """An instance that the re-opened watch has listed is no longer protected by the hold."""
    view = View()
    seen(view, A, B)
    view.doubt()
    seen(view, at=100.0)
    assert set(view.snapshot.held) == {A, B}
    seen(view, A, at=101.0)
    assert view.snapshot.held == (B,)
    seen(view, at=102.0)
    assert view.snapshot.instances == (B,)


def test_update_after_a_second_failure_starts_the_hold_anew() -> None:
    """Servers that could not come back because the backend left again get their full time."""
    view = View()
    seen(view, A)
    view.doubt()
    seen(view, at=100.0)
    view.doubt()
    assert view.expires_at == math.inf
    assert not view.expire(1_000.0)
    seen(view, at=2_000.0)
    assert view.expires_at == 2_000.0 + HOLD_S


def test_update_that_is_not_trusted_adds_and_removes_nothing() -> None:
    """While the backend is away, a list may add an instance but neither drop nor freshen any."""
    view = View()
    seen(view, A)
    view.doubt()
    seen(view, B, trusted=False)
    assert view.snapshot == Snapshot((B, A), stale=True, held=(A,), listed=True)
    seen(view, C, at=500.0, trusted=False)
    assert set(view.snapshot.instances) == {A, B, C}
    assert view.expires_at == math.inf


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("list"), st.lists(st.sampled_from([A, B, C]), unique=True)),
        st.tuples(st.just("untrusted"), st.lists(st.sampled_from([A, B, C]), unique=True)),
        st.tuples(st.just("doubt"), st.just([])),
        st.tuples(st.just("tick"), st.just([])),
    ),
    max_size=30,
)


@given(steps=STEPS, pauses=st.lists(st.sampled_from([0.5, 10.0, 30.0]), min_size=30, max_size=30))
def test_view_after_any_history_keeps_exactly_what_the_rules_keep(
    steps: Sequence[tuple[str, list[Info]]], pauses: Sequence[float]
) -> None:
    """Whatever happens, an instance is there if and only if the rules say so.

    The model keeps for each instance the moment at which it may go, instead of sets.
    """
    view, now = View(), 0.0
    go_at: dict[Info, float] = {}
    doubted, listed = True, False
    for (step, infos), pause in zip(steps, pauses, strict=False):
        now += pause
        if step == "doubt":
            doubted = True
            view.doubt()
        elif step == "tick":
            view.expire(now)
        else:
            trusted, listed = step == "list", True
            for missing in go_at.keys() - set(infos):
                if doubted:
                    go_at[missing] = now + HOLD_S
                elif go_at[missing] == math.inf:
                    del go_at[missing]
            go_at |= dict.fromkeys(infos, math.inf)
            doubted = not trusted
            seen(view, *infos, at=now, trusted=trusted)
        if step != "doubt" and not doubted:
            go_at = {info: moment for info, moment in go_at.items() if moment > now}
        assert set(view.snapshot.instances) == set(go_at)
        assert view.snapshot.stale == doubted
        assert view.snapshot.listed == listed
        assert set(view.snapshot.held) == {info for info in go_at if go_at[info] < math.inf}
