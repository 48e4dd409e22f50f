from types import SimpleNamespace

from mile.callbacks import DeploymentCallback, EvaluationCallback
from mile.envs import make_env, make_policy


class Log:
    def __init__(self):
        self.steps = []

    def log_metrics(self, metrics, step):
        self.steps.append(step)


def logged_after(epochs, every, *others):
    """Return the steps at which evaluations are logged while so many epochs go by."""
    env, log = make_env("Counting-v0", num_envs=2), Log()
    module = SimpleNamespace(policy=make_policy(env, hidden_dims=(8,)))
    callback = EvaluationCallback(env, 2, 0, every)
    for epoch in range(epochs):
        trainer = SimpleNamespace(current_epoch=epoch, callbacks=[callback, *others], loggers=[log])
        callback.on_train_epoch_end(trainer, module)
    return log.steps


def test_without_deployments_every_evaluation_ends_a_round():
    assert logged_after(6, 2) == [0, 1, 2]


def test_with_deployments_an_evaluation_is_logged_at_their_round():
    """As the deployments themselves are, from 0."""
    deployment = DeploymentCallback(make_env("Counting-v0"), num_rounds=3, episodes_per_round=1, epochs_per_round=2)
    assert logged_after(6, 1, deployment) == [0, 0, 1, 1, 2, 2]
    assert logged_after(6, 4, deployment) == [1]


def test_evaluations_are_kept_by_epochs_and_go_on_after_a_stop():
    env = make_env("Counting-v0", num_envs=2)
    module = SimpleNamespace(policy=make_policy(env, hidden_dims=(8,)))
    callback, resumed = EvaluationCallback(env, 2, 0, 3), EvaluationCallback(env, 2, 0, 3)
    callback.on_train_epoch_end(SimpleNamespace(current_epoch=5, callbacks=[], loggers=[]), module)
    assert list(callback.evaluations) == [6]
    resumed.load_state_dict(callback.state_dict())
    assert list(resumed.evaluations) == [6]
    assert resumed.evaluations[6].mean_return == callback.evaluations[6].mean_return
