"""What makes the demo model: `PYTHONPATH=scripts python -m demo_model.pretrain --output-dir DIR`."""
