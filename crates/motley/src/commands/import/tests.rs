use motley_nn::Policy;
use motley_nn::net::NetScratch;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

fn args(name: &str, words: &str) -> ImportArgs {
    let words = words.split_whitespace().map(str::to_owned).collect();
    ImportArgs { from: fixture(name), words, config: None, out: PathBuf::new(), episodes: 1 }
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
    ];
    for (key, wanted) in expected {
        assert_eq!(value(key), wanted, "{key}");
    }
    let always = ["seed_specify", "use_policy_active_masks", "action_aggregation"];
    assert!(!left.iter().any(|l| always.iter().any(|name| l.contains(name))), "{left:?}");
    let mean = json!({ "main_args": { "algo": "happo" }, "algo_args": { "algo": { "action_aggregation": "mean" } } });
    assert_eq!(harl::read(&mean).unwrap().left, ["algo.action_aggregation=\"mean\""]);
    let (plan, _, left) = imported("epymarl_qmix", "qmix mpe/simple_spread_v3").unwrap();
    let value = |key: &str| plan.settings.value(key).unwrap().to_string();
    assert_eq!((value("algo.batch_episodes"), value("algo.target_update")), ("16".into(), "0.01".into()));
    assert_eq!((value("algo.reward_norm"), value("net.share")), ("\"standard\"".into(), "\"all\"".into()));
    assert!(left.iter().any(|l| l.contains("optim_alpha")), "{left:?}");
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
        // Version, flags, method, time, date, checksum: all 0.
        file.extend([&b"PK\x03\x04"[..], &[0; 14], &sizes, &names, name.as_bytes(), data].concat());
        directory.extend([&b"PK\x01\x02"[..], &[0; 16], &sizes, &names, &[0; 10], &at, name.as_bytes()].concat());
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
