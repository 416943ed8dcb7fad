"""The maker of the demo model: `PYTHONPATH=scripts python -m demo_model.pretrain --output-dir DIR`."""
