"""Tenants and keys: a client of LiteLLM's administration API.

A tenant is a LiteLLM team; a key belongs to one tenant. Keys are shown once, when they are made.
"""

from llmaas.admin.client import AdminClient, AdminError, KeyRecord, NewKey, Tenant
from llmaas.admin.connection import connect

__all__ = ["AdminClient", "AdminError", "KeyRecord", "NewKey", "Tenant", "connect"]
