"""An extension of enlist that counts and times what a registry does, for Prometheus.

::

    registry = enlist.open_registry("etcd", extensions=["prometheus"])

Metrics, in the default registry of ``prometheus_client`` or in one that is passed:

``enlist_registrations{service, state}``
    Gauge: how many registrations of this process are in that state.
``enlist_calls_seconds{call, outcome}``
    Histogram: how long the calls to the backend took. ``outcome`` is "ok" or the name of the error.
``enlist_instances{service}``
    Gauge: how many instances of a watched service are known.
``enlist_view_stale{service}``
    Gauge: 1 while what is known of a watched service may be out of date.
"""

from enlist_prometheus.extension import PrometheusExtension

__all__ = ["PrometheusExtension"]
