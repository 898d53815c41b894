"""Boards: a self-test that needs no host, one file for each board, and their build plans (``python -m boards``)."""
