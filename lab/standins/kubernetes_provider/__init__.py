"""Stand-in for `pulumi-resource-kubernetes`: the Pulumi provider plugin for Kubernetes at its official gRPC interface.

It follows the official plugin 4.34 in its server-side apply mode; `README.md` in this folder lists its rules.
"""
