use motley_nn::Policy;
use motley_nn::net::NetScratch;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

fn args(name: &str, words: &str) -> ImportArgs {
    let words = words.split_whitespace().map(str::to_owned).collect();
    ImportArgs { from: fixture(name), words, config: None, out: None, episodes: 1 }
}

fn imported(name: &str, words: &str) -> Result<(Plan, TeamPolicy, Vec<String>), String> {
    let args = args(name, words);
    let path = config_path(&args).map_err(|e| e.message)?;
    let mut found = read_config(&path).map_err(|e| e.message)?;
    let (plan, _) = plan(&args, &Registry::builtin(), &mut found).map_err(|e| e.message)?;
    let weights = find_weights(&args.from).map_err(|e| e.message)?.ok_or("no weights")?;
    let policy = filled(&plan, &weights, found.names)?;
    Ok((plan, policy, found.left))
}

/// `[step][agent][entry]` and `[agent][step][entry]`, as PyTorch had and gave them.
#[derive(serde::Deserialize)]
struct Expected {
    obs: Vec<Vec<Vec<f32>>>,
    out: Vec<Vec<Vec<f32>>>,
}

/// Every agent's network on the recorded observations, step after step with its memory, against PyTorch.
fn puts_out_the_same(name: &str, policy: &TeamPolicy) {
    let text = fs::read(fixture(name).join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&text).unwrap();
    let (mut seen, mut scratch) = (0, NetScratch::default());
    for group in policy.groups() {
        for (m, &agent) in group.members.iter().enumerate() {
            let mut memory = vec![0.0; group.net.memory_len()];
            for (step, rows) in expected.obs.iter().enumerate() {
                let (mut x, mut out) = (vec![0.0; group.net.input_len()], vec![0.0; group.net.output_len()]);
                group.input(&rows[agent], &memory, m, &mut x);
                group.net.forward(&x, 1, &mut memory, &mut out, &mut scratch);
                for (found, wanted) in out.iter().zip(&expected.out[agent][step]) {
                    assert!((found - wanted).abs() < 1e-5, "{name}, agent {agent}, step {step}: {found} for {wanted}");
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, policy.team().n() * 5 * 5, "every logit of every agent and step");
}

#[test]
fn harl_s_networks_put_out_what_they_did_in_pytorch() {
    for name in ["harl_discrete", "harl_recurrent", "harl_continuous"] {
        let (plan, policy, _) = imported(name, "").unwrap();
        assert_eq!((plan.algorithm.name(), plan.team.task.as_str()), ("happo", "mpe/simple_spread_v3"));
        puts_out_the_same(name, &policy);
    }
    let (_, policy, _) = imported("harl_continuous", "").unwrap();
    assert!(policy.groups().iter().all(|g| g.net.free().iter().any(|w| *w != 1.0)), "deviations are taken over");
}

#[test]
fn epymarl_s_shared_agent_puts_out_what_it_did_in_pytorch() {
    let (plan, policy, _) = imported("epymarl_qmix", "qmix mpe/simple_spread_v3").unwrap();
    assert_eq!(plan.algorithm.name(), "qmix");
    assert_eq!(policy.groups().len(), 1);
    puts_out_the_same("epymarl_qmix", &policy);
}

#[test]
fn settings_are_taken_over_and_what_has_no_counterpart_is_told() {
    let (plan, _, left) = imported("harl_discrete", "").unwrap();
    assert!(left.is_empty(), "{left:?}");
    let value = |key: &str| plan.settings.value(key).unwrap().to_string();
    let expected = [
        ("num_envs", "4"),
        ("seed", "7"),
        ("algo.rollout_steps", "50"),
        ("algo.clip", "0.15"),
        ("algo.value_clip", "0.15"),
        ("algo.ppo_epochs", "10"),
        ("algo.minibatches", "2"),
        ("algo.gamma", "0.98"),
        ("algo.truncation", "\"harl\""),
        ("algo.order", "\"random\""),
        ("net.hidden_sizes", "[12, 8]"),
        ("net.share", "\"none\""),
        ("task.flavour", "\"v2\""),
        ("eval.every", "5000"),
    ];
    for (key, wanted) in expected {
        assert_eq!(value(key), wanted, "{key}");
    }
    let mean = json!({ "main_args": { "algo": "happo" }, "algo_args": { "algo": { "action_aggregation": "mean" } } });
    assert_eq!(harl::read(&mean).unwrap().left, ["algo.action_aggregation=\"mean\""]);
    let (plan, _, left) = imported("epymarl_qmix", "qmix mpe/simple_spread_v3").unwrap();
    let value = |key: &str| plan.settings.value(key).unwrap().to_string();
    assert_eq!((value("algo.batch_episodes"), value("algo.target_update")), ("16".into(), "0.01".into()));
    assert_eq!((value("algo.reward_norm"), value("net.share")), ("\"standard\"".into(), "\"all\"".into()));
    assert!(left.is_empty(), "{left:?}");
}

/// The plan of a configuration, and what it leaves.
fn planned(json: &Value, words: &str) -> (Plan, Vec<String>) {
    let mut found = if json.get("algo_args").is_some() { harl::read(json) } else { epymarl::read(json) }.unwrap();
    let plan = plan(&args("nowhere", words), &Registry::builtin(), &mut found).map_err(|e| e.message).unwrap().0;
    (plan, found.left)
}

/// Every setting of the run, the algorithm, the networks and the task is that of a preset, but for these.
fn is_preset(found: &Plan, preset: &str, apart: &[&str]) {
    let request = Request {
        algo: found.algorithm.name().to_owned(),
        task: found.team.task.clone(),
        overrides: vec![format!("preset={preset}")],
        ..Request::default()
    };
    let (wanted, _) = request.plan_anywhere(&Registry::builtin()).map_err(|e| e.to_string()).unwrap();
    for (key, value, _) in found.settings.iter().filter(|(key, ..)| !apart.contains(&key.name.as_str())) {
        let logs = ["log.", "eval."].iter().any(|section| key.name.starts_with(section));
        assert!(logs || Ok(value) == wanted.settings.value(&key.name), "{}: {value} is not {preset}'s", key.name);
    }
}

/// HARL's table of an algorithm on a particle task, with `train`, `model` and `algo` as given.
fn harl(algo: &str, continuous: bool, train: &Value, model: &Value, own: &Value) -> Value {
    json!({
        "main_args": { "algo": algo, "env": "pettingzoo_mpe", "exp_name": "x", "load_config": "" },
        "algo_args": {
            "seed": { "seed_specify": true, "seed": 0 }, "device": { "cuda": true }, "train": train,
            "eval": { "use_eval": true, "n_eval_rollout_threads": 10, "eval_episodes": 20 },
            "render": { "use_render": false }, "model": model, "algo": own, "logger": { "log_dir": "./results" },
        },
        "env_args": { "scenario": "simple_spread_v2", "continuous_actions": continuous },
    })
}

fn joined(mut table: Value, more: Value) -> Value {
    let (Value::Object(into), Value::Object(more)) = (&mut table, more) else { panic!("tables") };
    into.extend(more);
    table
}

#[test]
fn harl_s_on_policy_configurations_are_its_presets() {
    let train = json!({ "n_rollout_threads": 20, "num_env_steps": 10_000_000, "episode_length": 200, "log_interval": 5,
        "eval_interval": 25, "use_valuenorm": true, "use_linear_lr_decay": false, "use_proper_time_limits": true, "model_dir": null });
    let model = json!({ "hidden_sizes": [128, 128], "activation_func": "relu", "use_feature_normalization": true,
        "initialization_method": "orthogonal_", "gain": 0.01, "use_naive_recurrent_policy": false, "use_recurrent_policy": false,
        "recurrent_n": 1, "data_chunk_length": 10, "lr": 0.0005, "critic_lr": 0.0005, "opti_eps": 0.00001, "weight_decay": 0,
        "std_x_coef": 1, "std_y_coef": 0.5 });
    let own = json!({ "critic_epoch": 5, "use_clipped_value_loss": true, "clip_param": 0.2, "critic_num_mini_batch": 1,
        "value_loss_coef": 1, "use_max_grad_norm": true, "max_grad_norm": 10.0, "use_gae": true, "gamma": 0.99, "gae_lambda": 0.95,
        "use_huber_loss": true, "use_policy_active_masks": true, "huber_delta": 10.0, "action_aggregation": "prod",
        "share_param": false, "fixed_order": false });
    let actor = json!({ "actor_num_mini_batch": 1, "entropy_coef": 0.01 });
    let happo = joined(joined(own.clone(), actor.clone()), json!({ "ppo_epoch": 5 }));
    let haa2c = joined(joined(own.clone(), actor), json!({ "a2c_epoch": 5 }));
    let hatrpo = joined(own, json!({ "kl_threshold": 0.005, "ls_step": 10, "accept_ratio": 0.5, "backtrack_coeff": 0.8 }));
    for (algo, own) in [("happo", &happo), ("haa2c", &haa2c), ("hatrpo", &hatrpo)] {
        let (plan, left) = planned(&harl(algo, false, &train, &model, own), "");
        assert!(left.is_empty(), "{algo}: {left:?}");
        is_preset(&plan, "harl", &["task.flavour"]);
        assert_eq!(plan.settings.get("eval.every"), Ok(100_000_u64), "25 updates of 20 x 200 steps");
        assert_eq!(plan.settings.get("eval.episodes"), Ok(20_u64));
    }
    // Other values than anybody's defaults.
    let odd = joined(hatrpo, json!({ "ls_step": 20, "backtrack_coeff": 0.5, "accept_ratio": 0.25, "use_gae": false }));
    let naive = joined(model, json!({ "use_naive_recurrent_policy": true, "recurrent_n": 2 }));
    let (plan, left) = planned(&harl("hatrpo", false, &train, &naive, &odd), "");
    let value = |key: &str| plan.settings.value(key).unwrap().to_string();
    let keys =
        ["algo.line_search_steps", "algo.backtrack", "algo.accept_ratio", "algo.gae_lambda", "net.recurrent", "net.chunk_length"];
    assert_eq!(keys.map(value), ["20", "0.5", "0.25", "1.0", "true", "200"]);
    assert_eq!(left, ["model.recurrent_n=2", "algo.use_gae=false"]);
}

#[test]
fn harl_s_off_policy_configurations_are_its_presets() {
    let train = json!({ "n_rollout_threads": 20, "num_env_steps": 5_000_000, "warmup_steps": 10000, "train_interval": 50,
        "update_per_train": 1, "log_interval": null, "eval_interval": 5000, "use_valuenorm": false, "use_linear_lr_decay": false,
        "use_proper_time_limits": true, "model_dir": null });
    let model = json!({ "hidden_sizes": [128, 128], "activation_func": "relu", "use_feature_normalization": true,
        "final_activation_func": "tanh", "initialization_method": "orthogonal_", "gain": 0.01, "lr": 0.0005, "critic_lr": 0.001 });
    let own = json!({ "gamma": 0.99, "buffer_size": 1_000_000, "batch_size": 1000, "polyak": 0.005, "n_step": 1,
        "use_policy_active_masks": true, "huber_delta": 10.0, "share_param": false, "fixed_order": false });
    let noise = joined(own.clone(), json!({ "expl_noise": 0.1, "use_huber_loss": true }));
    let hatd3 = joined(noise.clone(), json!({ "policy_noise": 0.2, "noise_clip": 0.5, "policy_freq": 2 }));
    for (algo, own) in [("haddpg", &noise), ("hatd3", &hatd3), ("matd3", &hatd3)] {
        let (plan, left) = planned(&harl(algo, true, &train, &model, own), "");
        assert!(left.is_empty(), "{algo}: {left:?}");
        is_preset(&plan, "harl", &["task.flavour"]);
        assert_eq!(plan.settings.get("eval.every"), Ok(100_000_u64), "5,000 steps of 20 environments");
    }
    let more = json!({ "auto_alpha": true, "alpha": 0.2, "alpha_lr": 0.0003, "use_huber_loss": false, "n_step": 20 });
    let hasac = joined(own.clone(), more);
    let train = joined(train, json!({ "num_env_steps": 10_000_000 }));
    let model = joined(model, json!({ "hidden_sizes": [256, 256], "critic_lr": 0.0005 }));
    let (plan, left) = planned(&harl("hasac", false, &train, &model, &hasac), "");
    assert!(left.is_empty(), "{left:?}");
    is_preset(&plan, "harl", &["task.flavour"]);
    let model = json!({ "base_hidden_sizes": [128, 128], "base_activation_func": "relu", "dueling_v_hidden_sizes": [64],
        "dueling_a_hidden_sizes": [64], "dueling_a_activation_func": "hardswish", "lr": 0.0005, "critic_lr": 0.001 });
    let had3qn = joined(own, json!({ "gamma": 0.95, "epsilon": 0.1 }));
    let (plan, left) = planned(&harl("had3qn", false, &train, &model, &had3qn), "");
    is_preset(&plan, "harl", &["task.flavour", "algo.epsilon", "algo.stream_size"]);
    assert_eq!((plan.settings.get("algo.epsilon"), plan.settings.get("algo.stream_size")), (Ok(0.1), Ok(64_u64)));
    assert_eq!(left, ["model.dueling_a_activation_func=\"hardswish\""]);
}

#[test]
fn nothing_is_dropped_in_silence() {
    let json = json!({
        "main_args": { "algo": "hatd3", "env": "mamujoco", "spell": 1 },
        "algo_args": {
            "train": { "use_proper_time_limits": false, "model_dir": "elsewhere", "eval_interval": 10, "mystery": 0.5 },
            "eval": { "use_eval": false }, "algo": { "entropy_coef": 0.01 }, "extra": 3,
        },
        "env_args": { "scenario": "manyagent_swimmer", "agent_conf": "10x2", "agent_obsk": 1, "episode_limit": 500, "max_x": 2 },
    });
    let mut found = harl::read(&json).unwrap();
    assert_eq!(found.task.as_deref(), Some("mamujoco/ManySegmentSwimmer-10x2"));
    let known = ["task.max_cycles", "net.share"].map(str::to_owned).into();
    assert_eq!(found.settle(&known), [("task.max_cycles".to_owned(), toml::Value::from(500))]);
    let expected = [
        "extra=3",
        "train.model_dir=\"elsewhere\"",
        "train.mystery=0.5",
        "main_args.spell=1",
        "train.use_proper_time_limits=false",
        "eval.use_eval=false",
        "train.eval_interval=10",
        "env_args.max_x=2",
        "algo.entropy_coef=0.01",
    ];
    let (left, expected): (BTreeSet<_>, BTreeSet<_>) = (found.left.iter().map(String::as_str).collect(), expected.into());
    assert_eq!(left, expected);
    let json = json!({ "name": "mappo", "agent": "rnn", "critic_type": "ac_critic", "checkpoint_path": "elsewhere", "mystery": 1,
        "env_args": { "time_limit": 50, "difficulty": "7" }, "batch_size": 20, "batch_size_run": 10, "use_rnn": false,
        "standardise_rewards": true, "obs_individual_obs": true, "obs_last_action": false });
    let (_, left) = planned(&json, "mappo mpe/simple_spread_v3");
    let expected = [
        "critic_type=\"ac_critic\"",
        "checkpoint_path=\"elsewhere\"",
        "mystery=1",
        "env_args.difficulty=\"7\"",
        "batch_size=20",
        "obs_individual_obs=true",
    ];
    assert_eq!(left.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected.into());
}

/// EPyMARL's defaults under an algorithm's own words, on the particle task of 25 steps.
fn epymarl(own: Value) -> Value {
    let all = json!({
        "agent": "rnn", "mac": "basic_mac", "env": "gymma", "env_args": { "key": "pz-mpe-simple-spread-v3", "time_limit": 25,
        "pretrained_wrapper": null, "seed": 5 }, "common_reward": true, "reward_scalarisation": "sum", "seed": 0, "repeat_id": 1,
        "test_greedy": true, "test_nepisode": 100, "test_interval": 50000, "t_max": 20_000_000, "gamma": 0.99, "optim_alpha": 0.99,
        "optim_eps": 0.00001, "grad_norm_clip": 10, "add_value_last_step": true, "hidden_dim": 128, "obs_agent_id": true,
        "obs_last_action": false, "obs_individual_obs": false, "standardise_returns": false, "standardise_rewards": false,
        "buffer_cpu_only": true, "use_cuda": true, "checkpoint_path": "", "evaluate": false, "load_step": 0, "label": "default_label",
    });
    joined(all, own)
}

#[test]
fn epymarl_s_policy_gradients_are_its_presets() {
    let gradient = json!({ "action_selector": "soft_policies", "mask_before_softmax": true, "runner": "parallel", "buffer_size": 10,
        "batch_size_run": 10, "batch_size": 10, "target_update_interval_or_tau": 0.01, "agent_output_type": "pi_logits",
        "use_rnn": true, "q_nstep": 5, "test_greedy": false });
    let ppo = json!({ "learner": "ppo_learner", "epochs": 4, "eps_clip": 0.2, "lr": 0.0003, "entropy_coef": 0.001,
        "standardise_rewards": true });
    let a2c = |entropy: f64| json!({ "learner": "actor_critic_learner", "lr": 0.0005, "entropy_coef": entropy, "standardise_rewards": true });
    let coma = json!({ "learner": "coma_learner", "lr": 0.0003, "entropy_coef": 0.001, "q_nstep": 10, "hidden_dim": 64,
        "target_update_interval_or_tau": 200, "standardise_returns": true, "critic_q_fn": "coma", "critic_baseline_fn": "coma",
        "critic_train_mode": "seq", "critic_train_reps": 1 });
    for (name, critic, own) in [
        ("ippo", "ac_critic", ppo.clone()),
        ("ia2c", "ac_critic", a2c(0.001)),
        ("maa2c", "cv_critic", a2c(0.01)),
        ("coma", "coma_critic", coma),
    ] {
        let own = joined(joined(gradient.clone(), own), json!({ "name": name, "critic_type": critic }));
        let (plan, left) = planned(&epymarl(own), &format!("{name} mpe/simple_spread_v3"));
        assert!(left.is_empty(), "{name}: {left:?}");
        // One network for all by another word; the whole square of an error, where presets have the half.
        is_preset(&plan, "epymarl", &["net.share", "algo.value_coef"]);
        assert_eq!(plan.settings.get("eval.stochastic"), Ok(true));
        assert_eq!(plan.settings.get("net.share"), Ok("all".to_owned()));
    }
    let own = joined(joined(gradient, ppo), json!({ "name": "mappo_ns", "critic_type": "cv_critic_ns", "agent": "rnn_ns" }));
    let (plan, left) = planned(&epymarl(joined(own, json!({ "reward_scalarisation": "mean" }))), "mappo mpe/simple_spread_v3");
    assert!(left.is_empty(), "{left:?}");
    let value = |key: &str| plan.settings.value(key).unwrap().to_string().replace('"', "");
    let expected = [
        ("net.share", "none"),
        ("task.reward", "mean"),
        ("algo.value_coef", "2.0"),
        ("algo.value_clip", "0.0"),
        ("algo.critic_lr", "0.0003"),
        ("algo.critic_epochs", "4"),
        ("algo.n_step", "5"),
        ("algo.reward_norm", "standard"),
        ("algo.normalize_advantages", "false"),
        ("net.critic_hidden_sizes", "[128, 128]"),
        ("net.chunk_length", "25"),
    ];
    for (key, wanted) in expected {
        assert_eq!(value(key), wanted, "{key}");
    }
}

#[test]
fn epymarl_s_value_based_configurations_are_its_presets() {
    let value = json!({ "action_selector": "epsilon_greedy", "epsilon_start": 1.0, "epsilon_finish": 0.05, "evaluation_epsilon": 0.0,
        "runner": "episode", "batch_size_run": 1, "buffer_size": 5000, "batch_size": 32, "target_update_interval_or_tau": 200,
        "agent_output_type": "q", "learner": "q_learner", "double_q": true, "standardise_rewards": true, "t_max": 2_000_000 });
    let iql = json!({ "name": "iql", "mixer": null, "lr": 0.0003, "use_rnn": true, "epsilon_anneal_time": 200_000 });
    let plain = json!({ "lr": 0.0005, "use_rnn": false, "epsilon_anneal_time": 50_000, "hidden_dim": 64 });
    let vdn = joined(plain.clone(), json!({ "name": "vdn", "mixer": "vdn" }));
    let qmix = json!({ "name": "qmix", "mixer": "qmix", "mixing_embed_dim": 32, "hypernet_layers": 2, "hypernet_embed": 64 });
    let qmix = joined(plain, qmix);
    for own in [iql, vdn, qmix.clone()] {
        let name = own["name"].as_str().unwrap().to_owned();
        let (plan, left) = planned(&epymarl(joined(value.clone(), own)), &format!("{name} mpe/simple_spread_v3"));
        assert!(left.is_empty(), "{name}: {left:?}");
        is_preset(&plan, "tuned", &["net.share"]);
    }
    let shallow = joined(value, joined(qmix, json!({ "hypernet_layers": 1 })));
    let (plan, _) = planned(&epymarl(shallow), "qmix mpe/simple_spread_v3");
    assert_eq!(plan.settings.value("algo.hyper_sizes").unwrap().to_string(), "[]");
}

/// HASAC's actors are other networks in boxes than over choices, and never its critics'.
#[test]
fn hasac_s_networks_follow_from_its_actions() {
    let read = |continuous: bool| {
        let model = json!({ "activation_func": "relu", "final_activation_func": "tanh", "use_feature_normalization": true,
            "initialization_method": "orthogonal_", "gain": 0.01 });
        let json = json!({
            "main_args": { "algo": "hasac", "env": "pettingzoo_mpe" },
            "algo_args": { "model": model, "algo": { "polyak": 0.01 } },
            "env_args": { "scenario": "simple_spread_v2", "continuous_actions": continuous },
        });
        let mut found = harl::read(&json).unwrap();
        let plan = plan(&args("nowhere", ""), &Registry::builtin(), &mut found).map_err(|e| e.message).unwrap().0;
        assert!(found.left.is_empty(), "{:?}", found.left);
        plan.algorithm.build(&plan.team, &plan.settings, &Stream::new(0, Purpose::Init, 0, 0)).unwrap();
        let keys =
            ["net.feature_norm", "net.layer_norm", "net.init", "net.last_activation", "net.critic_norm", "net.critic_init"];
        let values = keys.map(|key| plan.settings.value(key).unwrap().to_string().replace('"', ""));
        assert_eq!(plan.settings.get("algo.target_update"), Ok(0.01));
        values.join(" ")
    };
    assert_eq!(read(false), "true true orthogonal same false uniform");
    assert_eq!(read(true), "false false uniform tanh true same");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refused = |name: &str, words: &str, expected: &str| {
        let error = imported(name, words).err().unwrap();
        assert!(error.contains(expected), "{error}");
    };
    refused("epymarl_qmix", "", "motley import FROM qmix TASK");
    refused("harl_discrete", "happo", "expected FROM, or FROM ALGO TASK");
    refused("harl_discrete", "happo mpe/simple_tag_v3 task.flavour=v2", "of 3 agents, mpe/simple_tag_v3 has 4");
    refused("harl_discrete", "happo mpe/simple_spread_v3 net.hidden_sizes=[12,9]", "hidden.1.weight: expected [12, 9]");
    refused("harl_discrete", "happo mpe/simple_spread_v3 net.feature_norm=false", "base.feature_norm.bias has no place");
    refused("harl_discrete", "happo mpe/simple_spread_v3 net.recurrent=true", "no tensor for gru.weight_ih");
    refused("harl_discrete", "happo mpe/simple_spread_v3 net.share=all", "weights of its own");
    refused("nowhere", "", "config.json");
}

#[test]
fn nothing_in_a_pickle_is_run() {
    let module = fs::read(fixture("module.pt")).unwrap();
    let error = torch::state_dict(&module).unwrap_err();
    assert!(error.contains("torch.nn.modules.linear.Linear"), "{error}");
    assert!(torch::state_dict(b"\x80\x02}q\x00.").unwrap_err().contains("PyTorch 1.6"));
}

#[test]
fn any_damage_is_an_answer() {
    let whole = fs::read(fixture("harl_discrete/models/actor_agent0.pt")).unwrap();
    assert_eq!(torch::state_dict(&whole).unwrap().len(), 12);
    let mut stream = Stream::new(3, Purpose::Check, 0, 0);
    for _ in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..=stream.below(3) {
            let at = stream.below(bytes.len() as u32) as usize;
            bytes[at] = stream.below(256) as u8;
        }
        if stream.below(4) == 0 {
            bytes.truncate(stream.below(bytes.len() as u32) as usize);
        }
        // Whether it is taken or refused: it comes back.
        let _ = torch::state_dict(&bytes);
    }
}

/// A zip file of members as they are, without their checksums.
fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let sizes = [(data.len() as u32).to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        let names = [&(name.len() as u16).to_le_bytes()[..], &[0, 0]].concat();
        let at = (file.len() as u32).to_le_bytes();
        let sum = crc32fast::hash(data).to_le_bytes();
        // Version, flags, method, time, date: all 0.
        file.extend([&b"PK\x03\x04"[..], &[0; 10], &sum, &sizes, &names, name.as_bytes(), data].concat());
        directory.extend([&b"PK\x01\x02"[..], &[0; 12], &sum, &sizes, &names, &[0; 10], &at, name.as_bytes()].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (length, from) = ((directory.len() as u32).to_le_bytes(), (file.len() as u32).to_le_bytes());
    [file, directory, [&b"PK\x05\x06"[..], &[0; 4], &count, &count, &length, &from, &[0, 0]].concat()].concat()
}

/// A state dictionary of 16 numbers, shown under each of `names` as `lengths` steps of `stride` (below 256 each).
fn shown(names: usize, lengths: &[i32], stride: u8) -> Vec<u8> {
    let text = |t: &str| [&b"X"[..], &(t.len() as u32).to_le_bytes(), t.as_bytes()].concat();
    let global = |module: &str, name: &str| format!("c{module}\n{name}\n").into_bytes();
    let mut pickle = [&[0x80, 2][..], b"}"].concat();
    // The tensor, kept as 0 and taken off the dictionary's entries again: (storage, offset, lengths, strides, grad, hooks).
    pickle.extend(b"(");
    pickle.extend([text("first"), global("torch._utils", "_rebuild_tensor_v2")].concat());
    pickle.extend(
        [&b"(("[..], &text("storage"), &global("torch", "FloatStorage"), &text("0"), &text("cpu"), b"K\x10tQK\0("].concat(),
    );
    pickle.extend(lengths.iter().flat_map(|n| [&b"J"[..], &n.to_le_bytes()].concat()));
    pickle.extend(b"t(");
    pickle.extend(lengths.iter().flat_map(|_| [b'K', stride]));
    pickle.extend([&b"t\x89"[..], &global("collections", "OrderedDict"), b")RtRq\0"].concat());
    for name in 1..names {
        pickle.extend([text(&format!("n{name}")), b"h\0".to_vec()].concat());
    }
    pickle.extend(b"u.");
    stored(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 64])])
}

/// A small file is a small state dictionary: what shows its numbers over and over is refused before it is gathered.
#[test]
fn a_small_file_takes_little_memory() {
    let two = torch::state_dict(&shown(2, &[4, 4], 1)).unwrap();
    assert!(two.len() == 2 && two.values().all(|t| t.shape == [4, 4] && t.values == [0.0; 16]));
    for (lengths, stride) in
        [(vec![1 << 28], 0), (vec![1 << 14, 1 << 14], 0), (vec![17], 0), (vec![1 << 30, 1 << 30, 1 << 30], 1)]
    {
        let error = torch::state_dict(&shown(1, &lengths, stride)).unwrap_err();
        assert!(error.contains("the 16 that it is made of"), "{lengths:?}: {error}");
    }
    assert!(torch::state_dict(&shown(1, &[17; 65], 0)).unwrap_err().contains("65 lengths"));
    assert!(torch::state_dict(&shown(1, &[4], 9)).unwrap_err().contains("beyond its numbers"));
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let args = args("harl_discrete", "");
    let mut found = read_config(&config_path(&args).unwrap()).unwrap();
    let (plan, _) = plan(&args, &Registry::builtin(), &mut found).unwrap();
    let Some(Weights::Agents(dir, mut all)) = find_weights(&args.from).unwrap() else { panic!("HARL writes a file an agent") };
    all[1].values_mut().next().unwrap().values[0] = f32::NAN;
    let refused = filled(&plan, &Weights::Agents(dir, all), found.names).err().unwrap();
    assert!(refused.contains("actor.1.") && refused.contains("expected a finite number, found NaN"), "{refused}");
}
