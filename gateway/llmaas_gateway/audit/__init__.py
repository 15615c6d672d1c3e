"""Audit: who did what and which calls were made, chained and signed so that whoever changes it later is found out."""
