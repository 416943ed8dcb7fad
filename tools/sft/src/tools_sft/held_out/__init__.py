"""Rows that are held out of training, and what the model that trains makes of them."""
