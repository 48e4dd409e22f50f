"""MILE: Model-based Intervention Learning (Korkmaz and Bıyık, ICRA 2025)."""
