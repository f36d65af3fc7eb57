"""The etcd backend of enlist: ``registry="etcd"``.

The records are those of Kitex's registry-etcd, so that its clients find our servers and ours
find its servers. What each module answers:

- :mod:`enlist_etcd.options`: what can be chosen.
- :mod:`enlist_etcd.records`: an Info as a key and a value, and back.
- :mod:`enlist_etcd.plugin`: the hooks, made of the rest.
- :mod:`enlist_etcd.store`: our records: written, looked at and removed, also in batches.
- :mod:`enlist_etcd.lease`: the lease that they hang on.
- :mod:`enlist_etcd.listing` and :mod:`enlist_etcd.watches`: who is there, and what changes.
- :mod:`enlist_etcd.client`: one call to a cluster: failover and login.
- :mod:`enlist_etcd.connections`, :mod:`enlist_etcd.connection`, :mod:`enlist_etcd.channel`,
  :mod:`enlist_etcd.tokens`, :mod:`enlist_etcd.deadline`: what a call needs.
- :mod:`enlist_etcd.failures`: what a failed call means.
- :mod:`enlist_etcd.messages`, ``etcd.proto`` and :mod:`enlist_etcd.operations`: etcd's messages.
"""
