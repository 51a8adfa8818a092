"""Circuits to payloads and result bytes to `cirq.Result`: one file a provider's format.

Adding a provider is one file and one row of `_FORMATS`.
"""
