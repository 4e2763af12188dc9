"""The node as a process under load, watched from outside."""
