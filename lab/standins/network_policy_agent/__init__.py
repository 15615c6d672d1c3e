"""Enforces Kubernetes NetworkPolicies on one host by nftables and keeps the routes to the other hosts' pods.

It runs on bare hosts, so it uses nothing but the standard library of Python 3.11.
"""
