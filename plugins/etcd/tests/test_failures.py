import grpc  # noqa: TID253 - its status codes are what is translated
import pytest

from enlist.errors import (
    RegistryError,
    RejectedError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
)
from enlist_etcd.failures import Kind, LeaseExistsError, LeaseNotFoundError, failure_of

ENDPOINT = "10.0.0.1:2379"


class Refusal:
    """What gRPC's exceptions offer, with words that a real etcd 3.5 uses."""

    def __init__(self, status: str, details: str | None) -> None:
        self._code = grpc.StatusCode[status]
        self._details = details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details


@pytest.mark.parametrize(
    "status, details, kind, error",
    [
        ("UNAVAILABLE", "failed to connect to all addresses", Kind.BROKEN, UnavailableError),
        ("UNAVAILABLE", "connection attempt timed out", Kind.BROKEN, TimedOutError),
        ("UNAVAILABLE", "etcdserver: no leader", Kind.ELSEWHERE, UnavailableError),
        ("UNAVAILABLE", "etcdserver: leader changed", Kind.ELSEWHERE, UnavailableError),
        ("UNAVAILABLE", "etcdserver: request timed out", Kind.TIMED_OUT, TimedOutError),
        (
            "UNAVAILABLE",
            "etcdserver: request timed out, possibly due to previous leader failure",
            Kind.TIMED_OUT,
            TimedOutError,
        ),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", Kind.TIMED_OUT, TimedOutError),
        ("CANCELLED", "Channel closed!", Kind.BROKEN, UnavailableError),
        ("UNKNOWN", "raft: stopped", Kind.ELSEWHERE, UnavailableError),
        ("UNAUTHENTICATED", "etcdserver: invalid auth token", Kind.STALE_TOKEN, UnauthorisedError),
        (
            "INVALID_ARGUMENT",
            "etcdserver: user name is empty",
            Kind.STALE_TOKEN,
            UnauthorisedError,
        ),
        (
            "INVALID_ARGUMENT",
            "etcdserver: revision of auth store is old",
            Kind.STALE_TOKEN,
            UnauthorisedError,
        ),
        (
            "INVALID_ARGUMENT",
            "etcdserver: authentication failed, invalid user ID or password",
            Kind.FINAL,
            UnauthorisedError,
        ),
        ("PERMISSION_DENIED", "etcdserver: permission denied", Kind.FORBIDDEN, UnauthorisedError),
        ("NOT_FOUND", "etcdserver: requested lease not found", Kind.FINAL, LeaseNotFoundError),
        ("FAILED_PRECONDITION", "etcdserver: lease already exists", Kind.FINAL, LeaseExistsError),
        ("INVALID_ARGUMENT", "etcdserver: request is too large", Kind.FINAL, RejectedError),
        (
            "INVALID_ARGUMENT",
            "etcdserver: too many operations in txn request",
            Kind.FINAL,
            RejectedError,
        ),
        (
            "RESOURCE_EXHAUSTED",
            "etcdserver: mvcc: database space exceeded",
            Kind.FINAL,
            UnavailableError,
        ),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", Kind.ELSEWHERE, UnavailableError),
        ("UNIMPLEMENTED", None, Kind.FINAL, RejectedError),
    ],
)
def test_failure_of_says_what_to_do_and_what_to_raise(
    status: str, details: str | None, kind: Kind, error: type[RegistryError]
) -> None:
    """Every answer of etcd becomes the one error that says whether trying again can help."""
    failure = failure_of(Refusal(status, details), ENDPOINT)
    assert (failure.kind, type(failure.error)) == (kind, error)
    assert str(failure.error).startswith(f"etcd at {ENDPOINT}: ")
    assert str(failure) == str(failure.error)


def test_failure_of_an_error_that_can_be_mended_names_the_step() -> None:
    """A full etcd and too large a batch each come with what to do."""
    full = failure_of(Refusal("RESOURCE_EXHAUSTED", "database space exceeded"), ENDPOINT)
    assert "disarm its NOSPACE alarm" in str(full.error)
    batch = failure_of(Refusal("INVALID_ARGUMENT", "etcdserver: too many operations"), ENDPOINT)
    assert "Set max_txn_ops" in str(batch.error)
