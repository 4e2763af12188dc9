"""Rigs, recordings, messages and small networks that tests share; tests and their programs import `helpers.NAME`."""
