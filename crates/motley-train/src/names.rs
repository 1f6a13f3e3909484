//! Settings in the words of other libraries: `motley import` reads their files by these, and who writes such a word here is told ours.

use motley_algos::AlgorithmSpec;
use motley_core::{ConfigError, Task};

use crate::settings::{Registry, keys};

/// HARL: (section of `algo_args`, name, setting) of what means the same here.
pub const HARL: [(&str, &str, &str); 47] = [
    ("seed", "seed", "seed"),
    ("train", "n_rollout_threads", "num_envs"),
    ("train", "num_env_steps", "total_steps"),
    ("train", "episode_length", "algo.rollout_steps"),
    ("train", "use_linear_lr_decay", "algo.lr_decay"),
    ("train", "warmup_steps", "algo.warmup_steps"),
    ("train", "train_interval", "algo.rollout_steps"),
    ("train", "update_per_train", "algo.updates_per_step"),
    ("eval", "eval_episodes", "eval.episodes"),
    ("model", "hidden_sizes", "net.hidden_sizes"),
    ("model", "activation_func", "net.activation"),
    ("model", "base_hidden_sizes", "net.hidden_sizes"),
    ("model", "base_activation_func", "net.activation"),
    ("model", "gain", "net.output_gain"),
    ("model", "data_chunk_length", "net.chunk_length"),
    ("model", "lr", "algo.lr"),
    ("model", "critic_lr", "algo.critic_lr"),
    ("model", "opti_eps", "algo.adam_eps"),
    ("model", "weight_decay", "algo.weight_decay"),
    ("model", "std_x_coef", "net.std_x_coef"),
    ("model", "std_y_coef", "net.std_y_coef"),
    ("algo", "ppo_epoch", "algo.ppo_epochs"),
    ("algo", "a2c_epoch", "algo.a2c_epochs"),
    ("algo", "critic_epoch", "algo.critic_epochs"),
    ("algo", "actor_num_mini_batch", "algo.minibatches"),
    ("algo", "critic_num_mini_batch", "algo.critic_minibatches"),
    ("algo", "entropy_coef", "algo.entropy_coef"),
    ("algo", "value_loss_coef", "algo.value_coef"),
    ("algo", "gamma", "algo.gamma"),
    ("algo", "gae_lambda", "algo.gae_lambda"),
    ("algo", "huber_delta", "algo.huber_delta"),
    ("algo", "kl_threshold", "algo.kl_threshold"),
    ("algo", "ls_step", "algo.line_search_steps"),
    ("algo", "accept_ratio", "algo.accept_ratio"),
    ("algo", "backtrack_coeff", "algo.backtrack"),
    ("algo", "polyak", "algo.target_update"),
    ("algo", "buffer_size", "algo.buffer_size"),
    ("algo", "batch_size", "algo.batch_size"),
    ("algo", "n_step", "algo.n_step"),
    ("algo", "expl_noise", "algo.exploration_noise"),
    ("algo", "policy_noise", "algo.policy_noise"),
    ("algo", "noise_clip", "algo.noise_clip"),
    ("algo", "policy_freq", "algo.policy_freq"),
    ("algo", "epsilon", "algo.epsilon"),
    ("algo", "auto_alpha", "algo.auto_alpha"),
    ("algo", "alpha", "algo.alpha"),
    ("algo", "alpha_lr", "algo.alpha_lr"),
];

/// EPyMARL: (name, setting) of what means the same here.
pub const EPYMARL: [(&str, &str); 30] = [
    ("seed", "seed"),
    ("batch_size_run", "num_envs"),
    ("t_max", "total_steps"),
    ("test_nepisode", "eval.episodes"),
    ("test_interval", "eval.every"),
    ("obs_agent_id", "net.agent_id"),
    ("obs_last_action", "net.last_action"),
    ("obs_individual_obs", "algo.critic_obs"),
    ("lr", "algo.lr"),
    ("gamma", "algo.gamma"),
    ("grad_norm_clip", "algo.max_grad_norm"),
    ("batch_size", "algo.batch_episodes"),
    ("buffer_size", "algo.buffer_episodes"),
    ("target_update_interval_or_tau", "algo.target_update"),
    ("epsilon_start", "algo.epsilon_start"),
    ("epsilon_finish", "algo.epsilon_end"),
    ("epsilon_anneal_time", "algo.epsilon_steps"),
    ("double_q", "algo.double_q"),
    ("mixing_embed_dim", "algo.mixer_embed"),
    ("entropy_coef", "algo.entropy_coef"),
    ("eps_clip", "algo.clip"),
    ("epochs", "algo.ppo_epochs"),
    ("q_nstep", "algo.n_step"),
    ("td_lambda", "algo.td_lambda"),
    ("initial_entropy_coef", "algo.entropy_start"),
    ("final_entropy_coef", "algo.entropy_end"),
    ("entropy_end_ratio", "algo.entropy_until"),
    ("reg", "algo.logit_penalty"),
    ("opt_loss", "algo.opt_coef"),
    ("nopt_min_loss", "algo.nopt_coef"),
];

/// (library, name, setting) of what those who come from there look for, though an import has more to do than to take it over.
const LOOKED_FOR: [(&str, &str, &str); 11] = [
    ("HARL", "clip_param", "algo.clip"),
    ("HARL", "share_param", "net.share"),
    ("HARL", "use_recurrent_policy", "net.recurrent"),
    ("HARL", "eval_interval", "eval.every"),
    ("HARL", "state_type", "task.state"),
    ("EPyMARL", "use_rnn", "net.recurrent"),
    ("EPyMARL", "hidden_dim", "net.hidden_sizes"),
    ("EPyMARL", "standardise_rewards", "algo.reward_norm"),
    ("EPyMARL", "standardise_returns", "algo.value_norm"),
    ("PettingZoo", "N", "task.num_agents"),
    ("PettingZoo", "continuous_actions", "task.continuous"),
];

/// (name, what is to be said besides) where the setting of that meaning counts in another unit.
const COUNTED: [(&str, &str); 1] =
    [("eval_interval", "which counts env steps; HARL counts updates, off-policy the steps of each environment")];

/// An unknown key with what is known of it: whose it is, or what the library calls it here that has it.
pub(crate) fn explained(error: ConfigError, algorithm: &dyn AlgorithmSpec, task: &dyn Task, registry: &Registry) -> ConfigError {
    let ConfigError::UnknownKey { key, .. } = &error else { return error };
    if let Some(text) = owners(key, algorithm, registry) {
        return ConfigError::Invalid(text);
    }
    let declared = keys(algorithm, task);
    let word = leaf(key).to_owned();
    if declared.iter().any(|known| leaf(&known.name) == word) {
        return error;
    }
    let same = HARL.iter().map(|(_, name, setting)| ("HARL", *name, *setting));
    let same = same.chain(EPYMARL.iter().map(|(name, setting)| ("EPyMARL", *name, *setting)));
    let meant: Vec<_> = same.chain(LOOKED_FOR).filter(|(_, name, _)| *name == word).collect();
    let settable = |setting: &str| declared.iter().any(|known| known.name == setting);
    // Of two meanings that which can be set here.
    let best = meant.iter().find(|(.., setting)| settable(setting)).or_else(|| meant.first());
    let Some((library, _, setting)) = best else { return error };
    let unit = COUNTED.iter().find(|(name, _)| *name == word).map_or_else(String::new, |(_, text)| format!(", {text}"));
    let told = format!("unknown key \"{key}\": {library}'s name of {setting}{unit}");
    match owners(setting, algorithm, registry) {
        _ if settable(setting) => ConfigError::Invalid(told),
        Some(text) => ConfigError::Invalid(format!("{told}; {text}")),
        None => error,
    }
}

/// That a key is one of other algorithms, and of which.
fn owners(key: &str, algorithm: &dyn AlgorithmSpec, registry: &Registry) -> Option<String> {
    let owners = registry.algorithms.iter().filter(|spec| spec.keys().iter().any(|known| known.name == key));
    let owners: Vec<&str> = owners.map(|spec| spec.name()).collect();
    let others = !owners.is_empty() && !owners.contains(&algorithm.name());
    others.then(|| format!("{key} is no setting of {} but of {}", algorithm.name(), owners.join(", ")))
}

fn leaf(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use motley_core::{Origin, Settings};

    use super::*;

    fn told(algo: &str, task: &str, key: &str) -> String {
        let registry = Registry::builtin();
        let (algorithm, task) = (registry.algorithms.get(algo).unwrap(), registry.tasks.get(task).unwrap());
        let mut settings = Settings::new(keys(&*algorithm, &*task));
        let error = settings.set_text(&format!("{key}=1"), Origin::CommandLine).unwrap_err();
        explained(error, &*algorithm, &*task, &registry).to_string()
    }

    #[test]
    fn words_of_other_libraries_are_answered_with_ours() {
        for (key, meant) in [
            ("num_env_steps", "HARL's name of total_steps"),
            ("episode_length", "HARL's name of algo.rollout_steps"),
            ("n_rollout_threads", "HARL's name of num_envs"),
            ("algo.clip_param", "HARL's name of algo.clip"),
            ("share_param", "HARL's name of net.share"),
            ("use_recurrent_policy", "HARL's name of net.recurrent"),
            ("actor_num_mini_batch", "HARL's name of algo.minibatches"),
            ("data_chunk_length", "HARL's name of net.chunk_length"),
            ("opti_eps", "HARL's name of algo.adam_eps"),
            (
                "eval_interval",
                "HARL's name of eval.every, which counts env steps; HARL counts updates, off-policy the steps of each environment",
            ),
            ("task.N", "PettingZoo's name of task.num_agents"),
        ] {
            assert_eq!(told("happo", "mpe/simple_spread_v3", key), format!("unknown key \"{key}\": {meant}"));
        }
        for (key, meant) in [
            ("t_max", "total_steps"),
            ("test_nepisode", "eval.episodes"),
            ("test_interval", "eval.every"),
            ("batch_size_run", "num_envs"),
            ("use_rnn", "net.recurrent"),
            ("hidden_dim", "net.hidden_sizes"),
            ("target_update_interval_or_tau", "algo.target_update"),
        ] {
            let text = format!("unknown key \"{key}\": EPyMARL's name of {meant}");
            assert_eq!(told("qmix", "mpe/simple_spread_v3", key), text);
        }
    }

    /// What only some tasks have is offered where it is.
    #[test]
    fn the_kind_of_state_is_a_setting_of_tasks() {
        assert_eq!(told("happo", "skirmish/3m", "state_type"), "unknown key \"state_type\": HARL's name of task.state");
        let text = told("happo", "mpe/simple_spread_v3", "state_type");
        assert!(text.contains("unknown key \"state_type\"") && !text.contains("HARL"), "{text}");
    }

    #[test]
    fn a_key_of_others_says_whose_it_is_and_nothing_else() {
        let text = told("qmix", "mpe/simple_spread_v3", "algo.clip");
        assert!(text.starts_with("algo.clip is no setting of qmix but of ") && !text.contains("did you mean"), "{text}");
        let text = told("qmix", "mpe/simple_spread_v3", "clip_param");
        assert!(
            text.starts_with("unknown key \"clip_param\": HARL's name of algo.clip; algo.clip is no setting of qmix"),
            "{text}"
        );
        // A word that is one of ours is a key without its section.
        assert!(told("happo", "mpe/simple_spread_v3", "lr").contains("did you mean \"algo.lr\""));
        assert!(told("happo", "mpe/simple_spread_v3", "algo.clp").contains("did you mean \"algo.clip\""));
    }
}
