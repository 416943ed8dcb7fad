"""Test texts inside longer rows, and rows inside longer test texts."""
