"""Tenants and keys: a client of the administration API of LiteLLM and of our gateway in it.

Without the gateway a tenant is a LiteLLM team and no more. Keys are shown once, when they are made.
"""

from llmaas.admin.calls import AdminError
from llmaas.admin.client import AdminClient, KeyRecord, NewKey, Tenant
from llmaas.admin.connection import connect

__all__ = ["AdminClient", "AdminError", "KeyRecord", "NewKey", "Tenant", "connect"]
