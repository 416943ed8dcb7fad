"""What training tools share: options, trainable weights, checkpoints that are whole, guards, saving, logging.

`options` and `trainable` are light; `callbacks`, `loop`, `outcome`, `schedule` and `trainer` need transformers and are
imported where training begins.
"""
