"""What a person who looks after a fleet sees: the robot that they attend, and all of them in small."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mile.envs import ScheduledEnv
from mile.gates.fleet import FleetAttention

ATTENDED_COLOR = (60, 190, 110)  # red, green, blue
NEXT_COLOR = (255, 150, 60)  # of the robot that asks most for the person
OTHER_COLOR = (70, 74, 80)
BORDER = 4  # pixels


def fleet_picture(env: ScheduledEnv, attention: FleetAttention) -> NDArray[np.uint8]:
    """Return a picture, `[height, width, 3]`: the attended robot, above a row of all, with the next one marked.

    Robots that have no episode to play are black.

    Args:
        env: Environment with a copy for each robot, made with `render_mode="rgb_array"`.
        attention: What decides which robot is attended.
    """
    robots = range(env.batch_size.numel())
    pictures = {robot: Image.fromarray(env.render(robot)) for robot in robots if env.plays(robot)}
    large = pictures.get(attention.attended or 0) or next(iter(pictures.values()))
    small_width = max(1, large.width // len(robots) - 2 * BORDER)
    small_height = max(1, small_width * large.height // large.width)

    # all of them, in one row
    whole = Image.new("RGB", (large.width, large.height + small_height + 2 * BORDER))
    whole.paste(large, (0, 0))
    for number in robots:
        picture = pictures.get(number, Image.new("RGB", large.size))
        color = OTHER_COLOR
        if number == attention.attended:
            color = ATTENDED_COLOR
        elif number == attention.next():
            color = NEXT_COLOR
        framed = ImageOps.expand(picture.resize((small_width, small_height)), BORDER, color)
        whole.paste(framed, (number * framed.width, large.height))
    return np.asarray(whole)
