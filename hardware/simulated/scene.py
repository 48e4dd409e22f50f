"""The arm, a box with an octagonal hole and the block that fits it, in MuJoCo; lengths in metres.

The arm is built from the same published lengths as `mile.hardware.kinematics`; all else is ours.
"""

import numpy as np

APOTHEM = 0.015  # of the block: from its axis to a side
CLEARANCE = 0.003  # between block and hole, on each side
BLOCK_HEIGHT = 0.06
BOX_HEIGHT = 0.04  # the hole goes all the way through
WALL_THICKNESS = 0.02  # of the hole's walls
MEAN_BOX_PLACE = (0.30, 0.05)  # x and y of the box's middle, on average

XML = """
<mujoco model="widowx_peg">
  <option timestep="0.005" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual><global offwidth="224" offheight="224"/><headlight ambient="0.4 0.4 0.4" diffuse="0.5 0.5 0.5"/></visual>
  <asset>
    <mesh name="octagon" vertex="{vertices}"/>
    <texture name="sky" type="skybox" builtin="flat" rgb1="0.8 0.85 0.9" width="32" height="32"/>
  </asset>
  <default>
    <joint damping="2" armature="0.02"/>
    <position kp="400" kv="20"/>
    <default class="link"><geom type="capsule" rgba="0.15 0.15 0.17 1" contype="0" conaffinity="0"/></default>
    <default class="solid"><geom friction="0.6 0.005 0.0001" solref="0.01 1"/></default>
  </default>
  <worldbody>
    <light pos="0.3 0.3 1.2" dir="0 -0.2 -1"/>
    <camera name="webcam" pos="0.75 0.05 0.42" xyaxes="0 1 0 -0.62 0 0.78" fovy="45"/>
    <geom name="table" type="plane" size="1 1 0.1" rgba="0.75 0.68 0.55 1"/>
    <body gravcomp="1">
      <joint name="1" axis="0 0 1"/>
      <geom class="link" fromto="0 0 0 0 0 0.11065" size="0.035" mass="0.5"/>
      <body pos="0 0 0.11065" gravcomp="1">
        <joint name="2" axis="0 1 0"/>
        <geom class="link" fromto="0 0 0 0.04975 0 0.25" size="0.025" mass="0.4"/>
        <body pos="0.04975 0 0.25" gravcomp="1">
          <joint name="4" axis="0 1 0"/>
          <geom class="link" fromto="0 0 0 0.12 0 0" size="0.022" mass="0.3"/>
          <body pos="0.12 0 0" gravcomp="1">
            <joint name="6" axis="1 0 0"/>
            <geom class="link" fromto="0 0 0 0.13 0 0" size="0.02" mass="0.2"/>
            <body pos="0.13 0 0" gravcomp="1">
              <joint name="7" axis="0 1 0"/>
              <geom class="link" fromto="0 0 0 0.07 0 0" size="0.018" mass="0.15"/>
              <body pos="0.07 0 0" gravcomp="1">
                <joint name="8" axis="1 0 0"/>
                <geom class="link" fromto="0 0 0 0.05 0 0" size="0.02" mass="0.1"/>
                <geom class="link" type="box" pos="0.078 0.03 0" size="0.02 0.004 0.008" mass="0.02"/>
                <geom class="link" type="box" pos="0.078 -0.03 0" size="0.02 0.004 0.008" mass="0.02"/>
                <site name="hand" pos="0.088575 0 0" size="0.003"/>
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>
    <body name="block" pos="0 0 0.5" gravcomp="0">
      <freejoint name="block"/>
      <site name="held" pos="0 0 0.02" euler="0 90 0"/>
      <geom class="solid" type="mesh" mesh="octagon" mass="0.05" rgba="0.85 0.25 0.2 1"/>
    </body>
    <body name="box" pos="0 0 0" mocap="true">
      {walls}
    </body>
  </worldbody>
  <equality>
    <weld name="grasp" site1="hand" site2="held" active="false" solref="0.01 1"/>
  </equality>
  <actuator>
    <position joint="1"/><position joint="2"/><position joint="4"/>
    <position joint="6"/><position joint="7"/><position joint="8"/>
  </actuator>
</mujoco>
"""


def scene() -> str:
    """Return the scene as MJCF."""
    # the block's corners
    corners = np.pi / 8 + np.arange(8) * np.pi / 4
    ring = APOTHEM / np.cos(np.pi / 8) * np.stack([np.cos(corners), np.sin(corners)], 1)
    vertices = []
    for x, y in ring:
        for z in (-BLOCK_HEIGHT / 2, BLOCK_HEIGHT / 2):
            vertices.append(f"{x:.6f} {y:.6f} {z:.6f}")

    # the hole's walls
    middle = APOTHEM + CLEARANCE + WALL_THICKNESS / 2
    half_width = (APOTHEM + CLEARANCE + WALL_THICKNESS) * np.tan(np.pi / 8)
    half_height = BOX_HEIGHT / 2
    size = f"{WALL_THICKNESS / 2} {half_width:.6f} {half_height}"
    walls = []
    for angle in np.arange(8) * np.pi / 4:
        position = f"{middle * np.cos(angle):.6f} {middle * np.sin(angle):.6f} {half_height}"
        walls.append(
            f'<geom class="solid" type="box" pos="{position}" '
            f'euler="0 0 {np.degrees(angle):.3f}" size="{size}" rgba="0.3 0.45 0.75 1"/>'
        )
    return XML.format(vertices="  ".join(vertices), walls="\n      ".join(walls))
