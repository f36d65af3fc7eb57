"""The Consul backend of enlist: ``registry="consul"``.

The records are those of Kitex's registry-consul, so that its clients find our servers and ours
find its servers. What each module answers:

- :mod:`enlist_consul.options`: what can be chosen.
- :mod:`enlist_consul.records`: an Info as a service of Consul, and back.
- :mod:`enlist_consul.plugin`: the hooks, made of the rest.
- :mod:`enlist_consul.store`: our records: written, looked at and removed, also in bulk.
- :mod:`enlist_consul.catalog`: whether the catalogue, which readers see, is as was written.
- :mod:`enlist_consul.beats` and :mod:`enlist_consul.signs`: the signs of life, and when they
  were given.
- :mod:`enlist_consul.listing` and :mod:`enlist_consul.watches`: who is there, and what changes.
- :mod:`enlist_consul.blocking`: what is asked of whoever waits for a change.
- :mod:`enlist_consul.rights`: what an empty list may mean where there are ACLs.
- :mod:`enlist_consul.operations`: the requests.
- :mod:`enlist_consul.client`, :mod:`enlist_consul.connection`, :mod:`enlist_consul.dialling`
  and :mod:`enlist_consul.deadline`: one request to the agent, within its time.
- :mod:`enlist_consul.spreading`: many requests at a time.
- :mod:`enlist_consul.failures`: what a failed request means.
"""
