"""Pulumi components, one subject a file: ``XxxArgs`` beside ``Xxx``. None of them reads configuration or files."""
