"""An extension of enlist that counts and times what a registry does, for Prometheus.

::

    registry = enlist.open_registry("etcd", extensions=["prometheus"])

Metrics, in the default registry of ``prometheus_client`` or in one that is passed:

``enlist_registrations{registry, service, state}``
    Gauge: how many registrations of this process are in that state.
``enlist_calls_seconds{call, outcome}``
    Histogram: how long the calls to the backend took. ``outcome`` is "ok" or the name of the error.
``enlist_instances{registry, service}``
    Gauge: how many instances of a watched service are known.
``enlist_view_stale{registry, service}``
    Gauge: 1 while what is known of a watched service may be out of date.

``registry`` is the registry's name: its URL without options, or what else it was opened by. Those
that were opened by one name, with other options, are not told apart.
"""

from enlist_prometheus.extension import PrometheusExtension

__all__ = ["PrometheusExtension"]
