"""The benchmarks judge as they say, and a run of the core's shows every figure."""

import itertools
import json
import random
import struct
import time
from pathlib import Path

import pytest

from enlist import open_registry
from tests.bench.__main__ import main
from tests.bench.figures import Estimate, estimate, ratio, share
from tests.bench.holder import Holder
from tests.bench.measuring import Arrivals, in_turn, program, timed
from tests.bench.plain_plugin import info
from tests.bench.returning import seconds_until
from tests.bench.rows import Row, Verdict
from tests.bench.taps import HttpTap, ZooKeeperTap


def row(
    figure: Estimate,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    is_smoke: bool = False,
) -> Row:
    return Row(
        suite="any",
        name="any",
        figure=figure,
        at_most=at_most,
        at_least=at_least,
        is_smoke=is_smoke,
    )


def test_estimates_the_median_of_known_numbers() -> None:
    """The value is the median, and the interval lies around it within the numbers."""
    figure = estimate([5.0, 1.0, 3.0, 2.0, 4.0])

    assert figure.value == 3.0
    assert 1.0 <= figure.low <= 3.0 <= figure.high <= 5.0
    assert figure.count == 5


def test_estimates_no_width_where_all_are_equal() -> None:
    """Measurements without scatter give an interval without width."""
    assert estimate([2.0] * 30) == Estimate(2.0, 2.0, 2.0, 30)


def test_estimates_the_same_interval_again() -> None:
    """One set of measurements never passes in one look and fails in the next."""
    values = [1.0, 1.5, 0.5, 1.25, 2.0, 0.75]

    assert estimate(values) == estimate(values)


def test_estimates_an_interval_that_holds_the_truth_in_most_runs() -> None:
    """Of 200 runs with a true median of 10, the 95 % interval holds it in 88 to 99.5 %."""
    rng = random.Random(3)  # noqa: S311 - measurements that can be repeated
    held = 0
    for _ in range(200):
        figure = estimate([rng.gauss(10.0, 2.0) for _ in range(30)])
        held += figure.low <= 10.0 <= figure.high

    assert 176 <= held <= 199


def test_refuses_to_estimate_from_nothing() -> None:
    """A figure without measurements is an error, not zero."""
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


def test_takes_ratios_pair_by_pair() -> None:
    """A slow moment that hits both sides of a pair does not move the ratio."""
    assert ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == Estimate(2.0, 2.0, 2.0, 3)


def test_refuses_ratios_of_sides_that_differ_in_length() -> None:
    """A measurement without its partner is an error."""
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0], [1.0])


def test_takes_the_mean_of_shares() -> None:
    """One busy stretch among idle ones counts for its part."""
    assert share([(3.0, 1.0), (0.0, 1.0), (0.0, 1.0)]).value == 1.0


@pytest.mark.parametrize(
    "low, high, at_most, at_least, verdict",
    [
        (0.9, 1.1, 1.0, None, Verdict.HOLDS),
        (1.0, 1.2, 1.0, None, Verdict.HOLDS),
        (1.01, 1.2, 1.0, None, Verdict.MISSED),
        (9.0, 10.0, None, 10.0, Verdict.HOLDS),
        (9.0, 9.99, None, 10.0, Verdict.MISSED),
        (0.9, 0.95, 1.0, 1.0, Verdict.MISSED),
        (1.0, 1.0, None, None, Verdict.PRINTED),
    ],
)
def test_misses_a_limit_only_with_the_whole_interval(
    low: float, high: float, at_most: float | None, at_least: float | None, verdict: Verdict
) -> None:
    """A limit is missed when even the end of the interval that is nearer to it is beyond it."""
    figure = Estimate((low + high) / 2, low, high, 30)

    assert row(figure, at_most=at_most, at_least=at_least).verdict is verdict


def test_judges_nothing_in_a_smoke_run() -> None:
    """Three pairs prove nothing, neither good nor bad."""
    assert row(Estimate.exact(9.0), at_most=1.0, is_smoke=True).verdict is Verdict.TRIED


def test_measures_in_turn_with_changing_order() -> None:
    """Each side goes first in every second pair, and warm rounds are thrown away."""
    calls: list[str] = []
    clock = itertools.count(1)

    def side(name: str) -> float:
        calls.append(name)
        return float(next(clock))

    taken = in_turn(lambda _: side("ours"), lambda _: side("theirs"), 2, warm=1)

    assert calls == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert taken.ours == [3.0, 6.0]
    assert taken.theirs == [4.0, 5.0]


def test_gives_each_call_a_number_of_its_own() -> None:
    """No two calls of all measurements get the same number."""
    seen: list[int] = []
    measure = timed(seen.append, 3)

    assert measure(0) > 0
    measure(1)

    assert seen == [0, 1, 2, 3, 4, 5]


def test_measures_a_program_from_its_first_line_to_its_last() -> None:
    """What a fresh interpreter waits for counts."""
    assert 0.2 <= program("time.sleep(0.2)")(0) < 60.0


def test_measures_until_news_has_come() -> None:
    """The first news after the change counts, what came before does not."""
    arrivals = Arrivals()
    arrivals.note()

    assert 0 <= arrivals.seconds(arrivals.note) < 30.0


def test_gives_no_two_infos_one_address() -> None:
    """Numbers below 0 and beyond the number of ports give addresses too, each another one."""
    numbers = [-100_000, -1, 0, 1, 59_999, 60_000, 1_000_000]

    assert len({info("bench", number).addr for number in numbers}) == len(numbers)


def test_holds_registrations_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The holder registers all, says what it uses, and leaves the registry when it is ended."""
    registry = f"local:{tmp_path}/registry"
    with Holder(registry, 20) as holder:
        assert holder.states() == {"enlisted": 21}
        assert holder.usage().cpu_s >= holder.with_all.cpu_s > 0
        assert holder.with_all.bytes >= holder.with_one.bytes > 0

    with open_registry(registry) as opened:
        assert opened.services() == ()


def test_counts_http_requests_however_they_are_cut() -> None:
    """Requests are counted by method and kind of path, in pieces and several at once."""
    put = b"PUT /v1/agent/check/pass/one?a=b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    get = b"GET /v1/agent/services HTTP/1.1\r\nHost: x\r\n\r\n"
    tap = HttpTap()

    for number in range(len(put)):
        tap(1, True, put[number : number + 1])
    tap(2, True, get + put)
    tap(2, False, get)

    assert tap.counts == {"PUT /v1/agent/check/pass": 2, "GET /v1/agent/services": 1}


def test_counts_zookeeper_requests_and_hears_of_sessions() -> None:
    """The first packet of a connection is its greeting; the others tell what they are."""
    tap = ZooKeeperTap()
    password = bytes(range(16))

    tap(0, True, packet(b"greeting"))
    tap(0, False, packet(struct.pack(">iiqi16s", 0, 6_000, 77, 16, password)))
    ping, create = struct.pack(">ii", -2, 11), struct.pack(">ii4s", 1, 1, b"path")
    both = packet(ping) + packet(create)
    tap(0, True, both[:6])
    tap(0, True, both[6:])

    assert tap.counts == {"connect": 1, "ping": 1, "create": 1}
    assert tap.sessions == [(77, password)]


def packet(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def test_gives_the_time_until_all_are_there() -> None:
    """Looking ends with the first look that sees enough."""
    counts = iter([0, 1, 2, 3])

    assert 0 <= seconds_until(lambda: next(counts), 2) < 60.0
    assert next(counts) == 3


def test_counts_from_an_earlier_moment_where_told() -> None:
    """What went on before anybody looked counts too."""
    assert seconds_until(lambda: 1, 1, since_s=time.monotonic() - 5.0) >= 5.0


def test_shows_every_figure_of_the_core(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A quick run prints a table with a row for each figure and writes the same as JSON."""
    file = tmp_path / "out.json"

    status = main(["core", "--quick", "--json", str(file)])

    figures = json.loads(file.read_text(encoding="utf-8"))["figures"]
    printed = capsys.readouterr()
    assert status == 0
    assert len(figures) == 13
    assert len(printed.out.splitlines()) == 1 + len(figures)
    assert {figure["verdict"] for figure in figures} == {"tried", "printed"}
    assert "hold 10,000 on local" in printed.err


def test_refuses_a_suite_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt suite is an error that lists those there are."""
    with pytest.raises(SystemExit):
        main(["ectd"])

    assert "zookeeper" in capsys.readouterr().err
