//! What is refused before anything is begun: memory that is not there, steps that are already behind, a folder of two seeds.

use motley_core::{ConfigError, Settings, Share, TeamSpec};
use motley_data::rollout::Rollout;
use motley_run::platform;

use crate::settings::{Plan, RunConfig};

/// Refuses a rollout that memory cannot hold, before any of it is taken (on systems that tell how much there is).
pub(crate) fn check_memory(plan: &Plan, run: &RunConfig, steps: usize, memory_len: usize) -> Result<(), ConfigError> {
    // The rollout itself, and the networks' inputs, outputs and gradients gathered from it.
    const COPIES: usize = 4;
    let needed = Rollout::bytes(&plan.team, run.num_envs, steps, memory_len).and_then(|b| b.checked_mul(COPIES));
    let gib = |b: f64| b / f64::from(1 << 30);
    match platform::available_memory() {
        Some(available) if needed.is_none_or(|n| n as u64 > available) => Err(ConfigError::Invalid(format!(
            "num_envs = {} and {steps} steps a rollout need about {:.1} GiB of memory ({} bytes), {:.1} GiB are available: lower num_envs or algo.rollout_steps",
            run.num_envs,
            needed.map_or(f64::INFINITY, |n| gib(n as f64)),
            needed.map_or_else(|| "more than can be counted".to_owned(), |n| n.to_string()),
            gib(available as f64)
        ))),
        _ => Ok(()),
    }
}

/// Refuses networks that memory cannot hold, before any of them is made. Of each network the parameters between the layers of which the
/// settings name both widths are counted, and no other input or output: nothing that fits is refused.
pub(crate) fn check_networks(team: &TeamSpec, settings: &Settings, available: Option<u64>) -> Result<(), ConfigError> {
    // The parameters, the kernels' own order of them, and the optimiser's two moments, in f32.
    const BYTES: u64 = 4 * 4;
    let Some(available) = available else { return Ok(()) };
    let parts = parameters(team, settings);
    let needed = parts.iter().fold(0_u64, |sum, (_, n)| sum.saturating_add(*n)).saturating_mul(BYTES);
    let Some((key, _)) = parts.into_iter().max_by_key(|(_, n)| *n).filter(|_| needed > available) else { return Ok(()) };
    let found = settings.get::<Vec<usize>>(key).map(|sizes| format!("{sizes:?}"));
    let found = found.or_else(|_| settings.get::<usize>(key).map(|size| size.to_string()))?;
    let gib = |b: u64| b as f64 / f64::from(1 << 30);
    Err(ConfigError::Room {
        key: key.into(),
        found,
        why: format!(
            "the networks need at least {:.1} GiB of memory ({needed} bytes) to learn, {:.1} GiB are available: make them narrower",
            gib(needed),
            gib(available)
        ),
    })
}

/// By the setting that names their widths, how many parameters a team's networks have at least.
fn parameters(team: &TeamSpec, settings: &Settings) -> Vec<(&'static str, u64)> {
    let widths = |key: &str| settings.get::<Vec<usize>>(key).unwrap_or_default();
    let width = |key: &str| settings.get::<usize>(key).unwrap_or(0) as u64;
    let is = |key: &str| settings.get(key).unwrap_or(false);
    let between = |sizes: &[usize]| sizes.windows(2).map(|pair| pair[0] as u64 * pair[1] as u64).sum::<u64>();
    let last = |sizes: &[usize]| sizes.last().map_or(0, |width| *width as u64);
    // Three gates, each of its input and of its memory.
    let gates = |sizes: &[usize], recurrent: bool| if recurrent { 6 * last(sizes).pow(2) } else { 0 };
    let central = settings.get::<String>("algo.actor").is_ok_and(|actor| actor == "central");
    let share = settings.get::<Share>("net.share").ok().filter(|_| !central);
    let groups = share.and_then(|share| team.groups(&share).ok()).map_or(1, |groups| groups.len() as u64);
    let (hidden, critic) = (widths("net.hidden_sizes"), widths("net.critic_hidden_sizes"));
    let hyper = settings.get::<Vec<usize>>("algo.hyper_sizes").ok();
    let sends = settings.get::<String>("net.trunk").is_ok_and(|trunk| trunk == "gnn");
    let embed = width("algo.mixer_embed");
    vec![
        ("net.hidden_sizes", groups * (between(&hidden) + gates(&hidden, is("net.recurrent")))),
        ("net.critic_hidden_sizes", between(&critic) + gates(&critic, is("net.recurrent") && is("net.critic_recurrent"))),
        ("net.message_width", if sends { groups * width("net.message_width").pow(2) } else { 0 }),
        // A stream for the value and one for the advantages.
        ("algo.stream_size", groups * 2 * last(&hidden) * width("algo.stream_size")),
        ("algo.hyper_sizes", hyper.as_deref().map_or(0, between)),
        // QMIX's hypernetwork makes a weight for each agent and unit; QTRAN's networks have two layers of that width.
        ("algo.mixer_embed", hyper.map_or(embed.pow(2), |hyper| last(&hyper) * team.n() as u64 * embed)),
    ]
}

/// Refuses a budget that was changed to less than a run has done already. What its own budget was rounded up to is none.
pub(crate) fn check_budget(total: u64, config: &toml::Table, done: u64) -> Result<(), ConfigError> {
    let before = config.get("total_steps").and_then(toml::Value::as_integer).and_then(|n| u64::try_from(n).ok());
    if total >= done || before == Some(total) {
        return Ok(());
    }
    Err(ConfigError::Invalid(format!(
        "total_steps = {total} is less than the {done} env steps that this run has done: give more to go on, or leave it out"
    )))
}

/// Refuses a run folder whose two files are of different seeds: one of them is another run's.
pub(crate) fn check_seed(config: u64, info: u64) -> Result<(), ConfigError> {
    if config == info {
        return Ok(());
    }
    Err(ConfigError::Invalid(format!(
        "config.toml has seed = {config} and run.json has \"seed\": {info}, so they are not of one run: put the right file back"
    )))
}

/// What is to be known of a run whose budget was changed together with the horizon of a learning rate that decays: its beginning
/// followed another schedule, so it is not what a run of the new budget would have been.
pub(crate) fn stretched(settings: &Settings, run: &RunConfig, config: &toml::Table) -> Option<String> {
    let number = |key: &str| config.get(key).and_then(toml::Value::as_integer).and_then(|n| u64::try_from(n).ok());
    let before = number("schedule_steps").filter(|n| *n > 0).or_else(|| number("total_steps"))?;
    let decays = settings.get::<bool>("algo.lr_decay").unwrap_or(false);
    (decays && before != run.horizon()).then(|| {
        format!(
            "the learning rate decayed towards {before} env steps until now and goes on towards {}: a run of the new budget from its \
             start would have had another beginning (schedule_steps fixes the horizon beforehand)",
            run.horizon()
        )
    })
}

/// The threads asked for, or (0) as many as this process may use: one a core, and no more than `OMP_NUM_THREADS`, which schedulers
/// and Ray set to what a process was given.
pub fn threads(asked: usize) -> usize {
    let given = || std::env::var("OMP_NUM_THREADS").ok()?.trim().parse().ok().filter(|n| *n > 0);
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(given().unwrap_or(usize::MAX)),
        n => n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Registry, Request};

    /// C5: layers whose parameters nobody has room for; at the very bound they are taken.
    #[test]
    fn networks_beyond_memory_are_refused_with_their_bytes() {
        let of = |algo: &str, words: &[&str], available: Option<u64>| {
            let overrides = ["preset=none"].iter().chain(words).map(ToString::to_string).collect();
            let request = Request { algo: algo.into(), task: "mpe/simple_spread_v3".into(), overrides, ..Request::default() };
            let (plan, _) = request.plan_anywhere(&Registry::builtin()).unwrap();
            check_networks(&plan.team, &plan.settings, available).map_err(|e| e.to_string())
        };
        let check = |words: &[&str], available| of("happo", words, available);
        let wide = "net.hidden_sizes=[65536,65536]";
        let text = check(&[wide, "net.share=none"], Some(64 << 30)).unwrap_err();
        for part in ["net.hidden_sizes = [65536, 65536]", "192.0 GiB", "206158430208 bytes", "64.0 GiB are available"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(check(&[wide, "net.share=all"], Some(1 << 36)), Ok(()));
        assert!(check(&[wide, "net.share=all"], Some((1 << 36) - 1)).is_err());
        assert!(check(&["net.hidden_sizes=[65536]", "net.recurrent=true"], Some(64 << 30)).is_err());
        assert_eq!(check(&[wide], None), Ok(()), "where the system does not tell");
        assert_eq!(check(&["net.recurrent=true"], Some(1 << 30)), Ok(()));
        let others: [(&str, &[&str], &str); 6] = [
            ("happo", &["net.critic_hidden_sizes=[65536,65536]"], "net.critic_hidden_sizes = [65536, 65536]"),
            ("mappo", &["net.critic_hidden_sizes=[65536]", "net.recurrent=true"], "net.critic_hidden_sizes = [65536]"),
            ("gppo", &["net.message_width=65536"], "net.message_width = 65536"),
            ("had3qn", &["net.hidden_sizes=[32768]", "algo.stream_size=65536"], "algo.stream_size = 65536"),
            ("qmix", &["algo.hyper_sizes=[65536]", "algo.mixer_embed=65536"], "algo.mixer_embed = 65536"),
            ("qtran", &["algo.mixer_embed=65536"], "algo.mixer_embed = 65536"),
        ];
        for (algo, words, named) in others {
            let text = of(algo, words, Some(32 << 30)).unwrap_err();
            assert!(text.contains(named), "{algo}: {text}");
        }
    }

    #[test]
    fn a_budget_below_what_is_done_is_refused() {
        let config: toml::Table = "total_steps = 10".parse().unwrap();
        for (total, fits) in [(10, true), (4000, true), (5000, true), (3999, false), (11, false)] {
            assert_eq!(check_budget(total, &config, 4000).is_ok(), fits, "{total}");
        }
        assert!(check_seed(7, 7).is_ok() && check_seed(7, 8).is_err());
        assert!(check_budget(20, &config, 4000).unwrap_err().to_string().contains("total_steps = 20"));
    }
}
