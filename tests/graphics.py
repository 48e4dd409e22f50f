"""Which tests need a renderer that is a system package."""

import os
import subprocess
import sys

import pytest

PROBE = """
from mile.envs.metaworld import MetaWorld
env = MetaWorld("drawer-open-v3", render_mode="rgb_array", width=8, height=8)
env.reset(seed=0)
env.render()
"""
os.environ.setdefault("MUJOCO_GL", "egl")
found = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=False).returncode == 0
needs_graphics = pytest.mark.skipif(not found, reason="no offscreen renderer: apt-get install libegl1 libgl1-mesa-dri")
