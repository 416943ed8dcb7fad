"""What people read: the preview before training, and the rollouts as text and HTML."""
