"""Reserve the most a call can cost, then settle what it did cost: exact over all replicas of the proxy."""
