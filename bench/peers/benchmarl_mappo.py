"""BenchMARL's MAPPO on vmas's simple_spread: 60 envs, 6000 frames a batch, minibatches of 1000, 5 epochs, 2 x 256 tanh.

Motley trains MAPPO on its own vmas/simple_spread, held to vmas's by recorded steps, with the same settings (`preset=benchmarl`).
"""

import tempfile
import time

import torch
from benchmarl.algorithms import MappoConfig
from benchmarl.environments import VmasTask
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig

from common import Duel, motley

ENVS, FRAMES, BATCHES = 60, 6000, 6


def train():
    config = ExperimentConfig.get_from_yaml()
    config.sampling_device = config.train_device = "cpu"
    config.max_n_frames, config.evaluation, config.loggers = BATCHES * FRAMES, False, []
    config.on_policy_collected_frames_per_batch, config.on_policy_n_envs_per_worker = FRAMES, ENVS
    config.on_policy_minibatch_size, config.on_policy_n_minibatch_iters = 1000, 5
    config.save_folder = tempfile.mkdtemp()
    model = MlpConfig(num_cells=[256, 256], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)
    experiment = Experiment(
        algorithm_config=MappoConfig.get_from_yaml(), model_config=model, critic_model_config=model,
        task=VmasTask.SIMPLE_SPREAD.get_from_yaml(), seed=0, config=config,
    )  # fmt: skip
    start = time.perf_counter()
    experiment.run()
    return BATCHES * FRAMES / (time.perf_counter() - start)


if __name__ == "__main__":
    duel = Duel("BenchMARL", "env steps/s")
    for _ in range(2):
        duel.add("MAPPO, simple_spread", "peer", train())
        (event,) = motley("train", "mappo", "vmas/simple_spread", "preset=benchmarl", "--seconds", "10")
        duel.add("MAPPO, simple_spread", "motley", event["env_steps_per_second"])
    duel.show()
