"""The books raced: real processes compete for three limits at once, and a referee counts afterwards."""
