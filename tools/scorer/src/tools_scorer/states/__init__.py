"""Folders of hidden states: opened, exported, converted, extracted by workers."""
