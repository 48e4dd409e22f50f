"""The hidden process of a human who acts some steps after they decide: enumerated, as a Markov chain, and sampled.

States: W (watching), P_k (decided, k steps to go), I (in control). Everything is in plain probabilities.
"""

import numpy as np


def histories(onset, release, delay, step=0, state="W"):
    """Yield every course of an attempt from a step on: ν, whether a decision is pending, and the probability."""
    if step == len(onset):
        yield (), (), 1.0
        return
    for chance, nu, pending, following in branches(onset[step], release[step], delay, state):
        if chance > 0:
            for later_nu, later_pending, later in histories(onset, release, delay, step + 1, following):
                yield (nu, *later_nu), (pending, *later_pending), chance * later


def branches(h, r, delay, state):
    """Return what may happen in one step: probability, ν, whether a decision is pending, and the next state."""
    if state == "I":
        return [(r, 1, False, "I"), (1 - r, 0, False, "W")]
    if state == "W":
        waits = [(h * q, 0, True, k) for k, q in enumerate(delay) if k > 0]
        return [(1 - h, 0, False, "W"), (h * delay[0], 1, False, "I"), *waits]
    return [(1.0, 1, False, "I")] if state == 1 else [(1.0, 0, True, state - 1)]


def enumerated(onset, release, delay):
    """Return, for every sequence of ν, its probability and the posterior that a decision is pending, `[T]`."""
    probs, pending = {}, {}
    for nu, flags, chance in histories(onset, release, delay):
        probs[nu] = probs.get(nu, 0.0) + chance
        pending[nu] = pending.get(nu, 0.0) + chance * np.array(flags, float)
    posteriors = {nu: pending[nu] / probs[nu] for nu in probs}
    return probs, posteriors


def chain(h, r, delay, nu):
    """Return the matrix of p(ν, next state | state) in one step, over the states W, P_1, …, P_D, I."""
    longest = len(delay) - 1
    matrix = np.zeros((longest + 2, longest + 2))
    if nu:
        matrix[0, -1], matrix[-1, -1] = h * delay[0], r
        if longest:
            matrix[1, -1] = 1
        return matrix
    matrix[0, 0], matrix[-1, 0] = 1 - h, 1 - r
    for k in range(1, longest + 1):
        matrix[0, k] = h * delay[k]
        if k > 1:
            matrix[k, k - 1] = 1
    return matrix


def forward_backward(onset, release, delay, intervened):
    """Return the likelihood of one attempt and the posterior that a decision is pending, `[T]`."""
    steps = [chain(h, r, delay, nu) for h, r, nu in zip(onset, release, intervened, strict=True)]
    forward = [np.eye(len(delay) + 1)[0]]
    for matrix in steps:
        forward.append(forward[-1] @ matrix)
    backward = [np.ones(len(delay) + 1)]
    for matrix in reversed(steps):
        backward.insert(0, matrix @ backward[0])
    joint = np.array(forward[1:]) * np.array(backward[1:])
    total = forward[-1].sum()
    return total, joint[:, 1:-1].sum(-1) / (total or 1)


def sampled(onset, release, delay, attempts, rng):
    """Return ν of simulated attempts, `[attempts, T]`."""
    state = np.zeros(attempts, int)  # 0: watching, k: k steps to go, −1: in control
    nus = []
    for h, r in zip(onset, release, strict=True):
        watching, in_control, pending = state == 0, state == -1, state > 0
        decides = watching & (rng.random(attempts) < h)
        wait = rng.choice(len(delay), attempts, p=delay)
        stays = in_control & (rng.random(attempts) < r)
        nu = stays | (decides & (wait == 0)) | (state == 1)

        state = np.where(pending, state - 1, np.where(decides, wait, 0))
        state = np.where(nu, -1, state)
        nus.append(nu)
    return np.stack(nus, -1)
