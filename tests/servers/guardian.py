"""Start one server and end it when the test process is gone, however that died.

Run as a script by `tests.servers.process`, in a session of its own so that Ctrl-C reaches
the tests first: `guardian.py TEST_PID REPORT_FD FOLDER PROGRAM [ARGUMENT ...]`.

It watches the test process through a pidfd, which does not depend on the thread that
started it nor on descriptors that a forked child may have inherited. When the test
process ends, the server is killed and FOLDER, its private folder, removed. Should the
guardian itself be killed, the kernel kills the server (PR_SET_PDEATHSIG; the guardian
has one thread, the one that the signal is tied to).
"""

import ctypes
import os
import select
import shutil
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CANNOT_RUN = 127


def main() -> int:
    """Run the server and return its exit status, 128 plus the number of a fatal signal."""
    test_pid, report_fd, folder, *command = sys.argv[1:]
    os.set_inheritable(int(report_fd), False)
    tests = os.pidfd_open(int(test_pid))
    if os.getppid() != int(test_pid):  # it died while this started
        return _CANNOT_RUN
    libc = ctypes.CDLL(None, use_errno=True)
    guardian = os.getpid()
    server_pid = os.fork()
    if server_pid == 0:
        _become(command, libc, guardian)
    server = os.pidfd_open(server_pid)
    os.write(int(report_fd), f"{server_pid}\n".encode())
    os.close(int(report_fd))
    if _first_to_end(server, tests) == tests:
        signal.pidfd_send_signal(server, signal.SIGKILL)
        os.waitpid(server_pid, 0)
        shutil.rmtree(folder, ignore_errors=True)
        return _CANNOT_RUN
    _, status = os.waitpid(server_pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _become(command: list[str], libc: ctypes.CDLL, guardian: int) -> None:
    """Turn this forked child into the server; never returns."""
    try:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == guardian:
            os.execvp(command[0], command)  # noqa: S606 - the command of the test, no shell
    except OSError as exc:
        sys.stderr.write(f"cannot run {command[0]}: {exc}\n")
        sys.stderr.flush()
    finally:
        os._exit(_CANNOT_RUN)


def _first_to_end(server: int, tests: int) -> int:
    """Return the pidfd of the process that ended first, the server's where both did."""
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.register(tests, select.POLLIN)
    ended = {fd for fd, _ in poll.poll()}
    return server if server in ended else tests


if __name__ == "__main__":
    sys.exit(main())
