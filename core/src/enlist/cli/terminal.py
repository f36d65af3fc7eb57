"""The terminal of a command that runs in a process group of its own.

The group is what lets Ctrl-C and ``timeout`` reach enlist alone, which can then deregister before
the command hears of it. It also makes the command a background job to the terminal. What follows
from that is put right here, as a shell would: a command that wants to read is lent the terminal,
and one that was stopped with Ctrl-Z stops enlist with it, so that ``fg`` resumes both.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

__all__ = ["Terminal"]

WANTS_TERMINAL: Final = (signal.SIGTTIN, signal.SIGTTOU)


class Terminal:
    """The controlling terminal, if there is one; used by the thread that takes the signals.

    That thread must have SIGTTOU blocked: so the terminal can be taken back from the background.
    """

    def __init__(self, group: int) -> None:
        """Open the terminal.

        Args:
            group: the command's process group.
        """
        self._group = group
        self._lent = False
        try:
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # no terminal: a service, a container
            self._fd = -1

    def stop_command(self) -> None:
        """Act on Ctrl-Z: stop the command, whose stop then stops this process too."""
        if self._has_shell():
            os.killpg(self._group, signal.SIGTSTP)

    def command_stopped(self, by: int) -> None:
        """Act on a stop of the command.

        Args:
            by: the signal that stopped it. Somebody who sent SIGSTOP wants it stopped, and
                nothing else.
        """
        if by in WANTS_TERMINAL and self._is_ours():
            self._give(self._group)
            os.killpg(self._group, signal.SIGCONT)
        elif by != signal.SIGSTOP and self._has_shell():
            self._stop_too()

    def close(self) -> None:
        """Take the terminal back and let go of it."""
        if self._fd >= 0:
            self._take_back()
            os.close(self._fd)
            self._fd = -1

    def _stop_too(self) -> None:
        lent = self._lent
        self._take_back()
        # To this very thread: sent to the process, it could stop it a few lines further down.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        # From here on it goes on: the shell was told "fg" or "bg".
        if lent and self._is_ours():
            self._give(self._group)
        os.killpg(self._group, signal.SIGCONT)

    def _has_shell(self) -> bool:
        """Whether the parent can make a stopped process go on, being of the same session."""
        parent = os.getppid()
        return parent > 1 and os.getsid(parent) == os.getsid(0)

    def _is_ours(self) -> bool:
        return self._fd >= 0 and os.tcgetpgrp(self._fd) == os.getpgrp()

    def _give(self, group: int) -> None:
        os.tcsetpgrp(self._fd, group)
        self._lent = group == self._group

    def _take_back(self) -> None:
        if self._lent:
            self._give(os.getpgrp())
