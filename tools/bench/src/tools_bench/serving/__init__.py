"""A tutor's `/chat` in front of a served model."""
