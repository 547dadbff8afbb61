"""Grafana's dashboards, made from one typed description: `python -m exchange.metrics.boards --write`."""
