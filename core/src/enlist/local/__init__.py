"""The registry of one machine: no server to run, and the backend to read first.

A registry is a file, an SQLite database, with two companions beside it::

    registry.db           the records: what is registered, and by which owner
    registry.db-owners/   one small file for each owner: its lock is its life, its content its beat
    registry.db-journal   SQLite's own, there while something is being written

``local`` alone means ``registry.db`` in a folder private to the user; ``local:/tmp/demo.registry``
names the file. Whoever may read and write these files shares the registry.

What each module answers:

- :mod:`enlist.local.options`: what can be chosen.
- :mod:`enlist.local.place`: where the files lie, and which places are refused.
- :mod:`enlist.local.faults`: what can be wrong with them, and what to do.
- :mod:`enlist.local.rows`: an Info as a row, and back.
- :mod:`enlist.local.store`: the database, and how long to wait for it.
- :mod:`enlist.local.statements`: the SQL.
- :mod:`enlist.local.liveness`: who is alive.
- :mod:`enlist.local.watching`: who hears of a change, and when.
- :mod:`enlist.local.plugin`: the hooks, made of these.
"""

from enlist.local.options import LocalOptions
from enlist.local.plugin import LocalRegistry

__all__ = ["LocalOptions", "LocalRegistry"]
