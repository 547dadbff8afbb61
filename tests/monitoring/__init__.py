"""A real Prometheus over a real exchange, and every rule, alert and dashboard asked."""
