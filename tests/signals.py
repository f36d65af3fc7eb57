"""Programs that tests start hear every signal; a plugin that the workspace's pyproject.toml loads.

A run that was started with nohup, or in the background of a shell, ignores SIGHUP or SIGINT, and
hands that on to every program.
"""

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
