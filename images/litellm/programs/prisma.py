#!/usr/bin/python3.11 -sS
"""In the place of Prisma's program: LiteLLM calls it at its start even when told not to touch the schema.

The schema is the work of ``migrate``; there is nothing to do here, and nothing to fetch.
"""
