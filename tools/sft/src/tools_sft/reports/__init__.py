"""What people read before training."""
