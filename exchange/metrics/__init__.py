"""Every Prometheus series of the exchange; no other package knows a metric's name.

series ── workers (each counts into its files) ── exposition ┐
      └── office  (what it reads in the books)  ── text ─────┴── one scrape
"""

from exchange.metrics.office import CONTENT_TYPE, OfficeMetrics
from exchange.metrics.workers import Metrics, count_as

__all__ = ["CONTENT_TYPE", "Metrics", "OfficeMetrics", "count_as"]
