"""MILE: Model-based Intervention Learning (Korkmaz and Bıyık, ICRA 2025)."""

import sys

# TorchRL asks for this as it is imported, which would import MuJoCo, and with it the renderer that MUJOCO_GL names
sys.modules.setdefault("mujoco.mjx", None)  # pyright: ignore
