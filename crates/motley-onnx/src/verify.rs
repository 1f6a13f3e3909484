//! Runs a file with tract and holds it to the policy that it was written from.

use motley_core::{Purpose, Stream};
use motley_nn::policy::{ActingGroup, Policy};
use motley_nn::{ActScratch, Decision, Head, Mode, NetScratch, ObsBatch, TeamPolicy};
use prost::Message;
use tract_onnx::prelude::{
    Datum, Framework, InferenceFact, InferenceModelExt, IntoRunnable, TValue, TVec, Tensor, TractResult, TypedRunnableModel,
};

use crate::export::{Difference, Exported, OnnxError};
use crate::heads::MASKED;
use crate::parts::{Part, parts};
use crate::proto::{INT64, Model, Size, ValueInfo};

/// Copies of the environment in a batch, and moments that they are shown.
const ENVS: usize = 3;
const MOMENTS: usize = 4;
/// How far a number may be from the policy's: this part of 1 and of the largest entry beside it.
const TOLERANCE: f32 = 1e-5;

/// Runs the file on random observations, masks, memories and starts of episodes, and compares every output with the policy's own
/// acting: numbers within 1e-5 (of 1, and of the largest entry beside them), choices equal unless two options are that close.
///
/// # Errors
/// [`OnnxError::Differs`] with the first output that does not agree, [`OnnxError::Unrun`] where tract cannot run the file.
pub fn verify(policy: &TeamPolicy, file: &Exported) -> Result<(), OnnxError> {
    let agents: Vec<usize> = (0..policy.team().n()).filter(|&i| file.agents.contains(&policy.team().agents[i].name)).collect();
    if file.joint {
        return Trial::new(policy, file, &agents)?.run();
    }
    agents.iter().try_for_each(|agent| Trial::new(policy, file, std::slice::from_ref(agent))?.run())
}

/// A file as tract runs it.
struct Runner {
    plan: std::sync::Arc<TypedRunnableModel>,
    /// Name, whether of whole numbers, shape.
    inputs: Vec<(String, bool, Vec<usize>)>,
    outputs: Vec<String>,
}

impl Runner {
    fn new(bytes: &[u8]) -> TractResult<Self> {
        let graph = Model::decode(bytes)?.graph.unwrap_or_default();
        let inputs: Vec<_> = graph.input.iter().map(described).collect();
        let mut model = tract_onnx::onnx().model_for_read(&mut std::io::Cursor::new(bytes))?;
        for (k, (_, whole, shape)) in inputs.iter().enumerate() {
            let kind = if *whole { i64::datum_type() } else { f32::datum_type() };
            model.set_input_fact(k, InferenceFact::dt_shape(kind, shape.iter().copied()))?;
        }
        let plan = model.into_optimized()?.into_runnable()?;
        Ok(Self { plan, inputs, outputs: graph.output.into_iter().map(|o| o.name).collect() })
    }

    /// Every output's numbers; whole ones as floats, which hold choices exactly.
    fn run(&self, feed: impl Fn(&str) -> Vec<f32>) -> TractResult<Vec<Vec<f32>>> {
        let mut given: TVec<TValue> = TVec::new();
        for (name, whole, shape) in &self.inputs {
            let values = feed(name);
            let tensor = if *whole {
                Tensor::from_shape(shape, &values.iter().map(|x| *x as i64).collect::<Vec<_>>())?
            } else {
                Tensor::from_shape(shape, &values)?
            };
            given.push(tensor.into());
        }
        let numbers =
            |x: TValue| -> TractResult<Vec<f32>> { Ok(x.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()) };
        self.plan.run(given)?.into_iter().map(numbers).collect()
    }
}

fn described(info: &ValueInfo) -> (String, bool, Vec<usize>) {
    let tensor = info.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let size = |size: &Option<Size>| if let Some(Size::Value(n)) = size { *n as usize } else { ENVS };
    let shape = tensor.and_then(|t| t.shape.as_ref()).map(|s| s.dim.iter().map(|d| size(&d.size)).collect());
    (info.name.clone(), tensor.is_some_and(|t| t.element == INT64), shape.unwrap_or_default())
}

/// A policy and its file, side by side.
struct Trial<'a> {
    policy: &'a TeamPolicy,
    file: &'a Exported,
    runner: Runner,
    /// For whom the file acts in this trial.
    agents: &'a [usize],
    rng: Stream,
    /// What the environments show: `[ENVS, obs_len]`, `[ENVS, mask_len]`, and whether an episode starts.
    obs: Vec<f32>,
    avail: Vec<bool>,
    starts: Vec<bool>,
    /// The policy's memory before a moment, and what it did at the one before.
    memory: Vec<f32>,
    done: Decision,
}

impl<'a> Trial<'a> {
    fn new(policy: &'a TeamPolicy, file: &'a Exported, agents: &'a [usize]) -> Result<Self, OnnxError> {
        let runner =
            Runner::new(&file.bytes).map_err(|e| OnnxError::Unrun { agents: file.agents.join(", "), why: format!("{e:#}") })?;
        let team = policy.team();
        let done = Decision { env: vec![0.0; ENVS * team.action_len()], ..Decision::default() };
        Ok(Self {
            policy,
            file,
            runner,
            agents,
            rng: Stream::new(0, Purpose::Check, 0, agents[0] as u64),
            obs: Vec::new(),
            avail: Vec::new(),
            starts: Vec::new(),
            // What stands in a memory before an episode counts nothing.
            memory: vec![0.5; ENVS * policy.memory_len()],
            done,
        })
    }

    fn run(mut self) -> Result<(), OnnxError> {
        for moment in 0..MOMENTS {
            self.show(moment);
            let found = self.runner.run(|name| self.feed(name));
            let found = found.map_err(|e| OnnxError::Unrun { agents: self.file.agents.join(", "), why: format!("{e:#}") })?;
            for (e, _) in self.starts.iter().enumerate().filter(|(_, starts)| **starts) {
                let width = self.policy.memory_len();
                self.memory[e * width..(e + 1) * width].fill(0.0);
            }
            let before = self.memory.clone();
            self.act()?;
            for group in self.policy.groups() {
                for (m, &decider) in group.members.iter().enumerate() {
                    self.compare(group, m, decider, &before, &found, moment)?;
                }
            }
        }
        Ok(())
    }

    /// Draws what the environments show now.
    fn show(&mut self, moment: usize) {
        let team = self.policy.team();
        let (rng, scale) = (&mut self.rng, [1.0, 0.3, 3.0][moment % 3]);
        self.starts = (0..ENVS).map(|_| rng.bernoulli(0.3) || moment == 0).collect();
        (self.obs, self.avail) = (Vec::new(), Vec::new());
        for _ in 0..ENVS {
            for agent in &team.agents {
                let image = agent.obs.is_image();
                self.obs.extend(
                    (0..agent.obs.size()).map(|_| (if image { rng.range(0.0, 255.0) } else { scale * rng.normal() }) as f32),
                );
            }
            for (i, agent) in team.agents.iter().enumerate() {
                let from = self.avail.len();
                let never = |a: usize| self.policy.lift().is_some_and(|lift| lift.plan().from_env[i][a].is_none());
                for &size in agent.action.choices() {
                    let (at, sure) = (self.avail.len() - from, rng.below(size as u32) as usize);
                    // An action without a meaning is never open; the one that is sure to be is the next with one.
                    let sure = (sure..size).chain(0..sure).find(|a| !never(at + a)).unwrap_or(0);
                    self.avail.extend((0..size).map(|a| !never(at + a) && (a == sure || rng.bernoulli(0.6))));
                }
            }
        }
    }

    /// The file's input of that name.
    fn feed(&self, name: &str) -> Vec<f32> {
        let team = self.policy.team();
        let (stem, who) = name.split_once('.').unwrap_or((name, ""));
        let agent = self.agents.iter().copied().find(|&i| !self.file.joint || team.agents[i].name == who);
        let agent = agent.unwrap_or(self.agents[0]);
        match stem {
            "reset" => self.starts.iter().map(|s| f32::from(u8::from(*s))).collect(),
            "obs" => rows(&self.obs, team.obs_range(agent), team.obs_len()),
            "action_mask" => {
                let open: Vec<f32> = self.avail.iter().map(|open| f32::from(u8::from(*open))).collect();
                rows(&open, team.mask_range(agent), team.mask_len())
            }
            "last_action" => rows(&self.done.env, team.action_range(agent), team.action_len()),
            _ => {
                let decider = if self.policy.is_central() { 0 } else { agent };
                let held = self.policy.groups().iter().find_map(|g| Some((g, g.members.iter().position(|d| *d == decider)?)));
                held.map_or(Vec::new(), |(group, m)| self.recurrent(group, m, &self.memory))
            }
        }
    }

    /// A member's part of a memory that its network keeps.
    fn recurrent(&self, group: &ActingGroup, m: usize, memory: &[f32]) -> Vec<f32> {
        let from = group.memory_at[m].start;
        rows(memory, from..from + group.net.memory_len(), self.policy.memory_len())
    }

    fn act(&mut self) -> Result<(), OnnxError> {
        let batch = ObsBatch { envs: ENVS, obs: &self.obs, avail: &self.avail };
        let streams =
            [Stream::new(0, Purpose::Check, 0, 0), Stream::new(0, Purpose::Check, 1, 0), Stream::new(0, Purpose::Check, 2, 0)];
        let mut scratch = ActScratch::default();
        self.policy
            .act(batch, &mut self.memory, Mode::Greedy, &streams, &mut self.done, &mut scratch)
            .map_err(|e| OnnxError::Unfit(e.to_string()))
    }

    /// What a member's network puts out, `[ENVS, outputs]`.
    fn outputs(&self, group: &ActingGroup, m: usize, decider: usize, before: &[f32]) -> Vec<f32> {
        let (team, deciders) = (self.policy.team(), self.policy.deciders());
        let (net, held) = (&group.net, self.policy.memory_len());
        let mut x = vec![0.0; ENVS * net.input_len()];
        for (e, x) in x.chunks_exact_mut(net.input_len()).enumerate() {
            let mut all = self.obs[e * team.obs_len()..(e + 1) * team.obs_len()].to_vec();
            if let Some(lift) = self.policy.lift() {
                let shown = std::mem::replace(&mut all, vec![0.0; deciders.obs_len()]);
                lift.observe(&shown, &mut all);
            }
            let shown = match net.graph() {
                None => all[deciders.obs_range(decider)].to_vec(),
                Some(graph) => {
                    let mut row = vec![0.0; graph.row_len()];
                    graph.row(&all, decider, &mut row);
                    row
                }
            };
            group.input(&shown, &before[e * held..(e + 1) * held][group.memory_at[m].clone()], m, x);
        }
        let mut out = vec![0.0; ENVS * net.output_len()];
        net.forward(&x, ENVS, &mut self.recurrent(group, m, before), &mut out, &mut NetScratch::default());
        out
    }

    fn compare(
        &self,
        group: &ActingGroup,
        m: usize,
        decider: usize,
        before: &[f32],
        found: &[Vec<f32>],
        moment: usize,
    ) -> Result<(), OnnxError> {
        let mut out = None;
        for part in parts(self.policy, group, decider).iter().filter(|part| self.agents.contains(&part.agent)) {
            let out: &Vec<f32> = out.get_or_insert_with(|| self.outputs(group, m, decider, before));
            let (own, who) = (own_outputs(part, group, out), &self.policy.team().agents[part.agent].name);
            for (name, found) in self.runner.outputs.iter().zip(found) {
                let stem = match name.split_once('.') {
                    Some((stem, of)) if self.file.joint && of == who => stem,
                    None if !self.file.joint || self.policy.is_central() => name,
                    _ => continue,
                };
                let expected = self.expected(stem, group, m, part, &own);
                let near = near(&expected);
                let differ = |k: usize| {
                    let close = (expected[k] - found[k]).abs() <= near;
                    !close && !(stem == "action" && self.is_tie(part, &own, k, found[k]))
                };
                let wrong = (0..expected.len().min(found.len())).find(|&k| differ(k));
                let (expected, found) = match wrong {
                    Some(k) => (expected[k].to_string(), found[k].to_string()),
                    None if expected.len() == found.len() => continue,
                    None => (format!("of {} numbers", expected.len()), format!("of {} numbers", found.len())),
                };
                let (agents, output) = (self.file.agents.join(", "), name.clone());
                let allowed = near.to_string();
                let difference = Difference { agents, output, trial: moment, expected, found, allowed };
                return Err(OnnxError::Differs(Box::new(difference)));
            }
        }
        Ok(())
    }

    /// What the policy has where the file has an output.
    fn expected(&self, stem: &str, group: &ActingGroup, m: usize, part: &Part, own: &[f32]) -> Vec<f32> {
        let (team, each) = (self.policy.team(), own.len() / ENVS);
        match (stem, &part.head) {
            ("h_out", _) => self.recurrent(group, m, &self.memory),
            ("logits", _) => {
                let open = self.avail.chunks_exact(team.mask_len()).flat_map(|row| &row[team.mask_range(part.agent)]);
                own.iter().zip(open).map(|(x, open)| if *open { *x } else { MASKED }).collect()
            }
            ("mean", Head::TanhGaussian { low, .. }) => rows(own, 0..low.len(), each),
            ("log_std", Head::TanhGaussian { low, .. }) => {
                rows(own, low.len()..each, each).into_iter().map(|x| x.clamp(-20.0, 2.0)).collect()
            }
            ("log_std", Head::Gaussian { x_coef, y_coef, .. }) => {
                let row = part.free.iter().map(|w| (y_coef / (1.0 + (-w / x_coef).exp())).ln());
                row.collect::<Vec<_>>().repeat(ENVS)
            }
            ("mean", _) => own.to_vec(),
            _ => rows(&self.done.env, team.action_range(part.agent), team.action_len()),
        }
    }

    /// Whether a choice other than the policy's is open and as good, but for rounding. `k` counts the choices of the batch.
    fn is_tie(&self, part: &Part, own: &[f32], k: usize, found: f32) -> bool {
        let Head::Categorical(sizes) = &part.head else { return false };
        let team = self.policy.team();
        let (e, c) = (k / sizes.len(), k % sizes.len());
        let at: usize = sizes[..c].iter().sum();
        let each: usize = sizes.iter().sum();
        let values = &own[e * each..(e + 1) * each][at..at + sizes[c]];
        let open = &self.avail[e * team.mask_len()..][team.mask_range(part.agent)][at..at + sizes[c]];
        let best = values.iter().zip(open).filter(|(_, open)| **open).map(|(x, _)| *x).fold(f32::MIN, f32::max);
        let pick = found as usize;
        pick < sizes[c] && open[pick] && best - values[pick] <= near(own)
    }
}

/// An agent's columns of a network's output, `[ENVS, its outputs]`.
fn own_outputs(part: &Part, group: &ActingGroup, out: &[f32]) -> Vec<f32> {
    match &part.columns {
        None => out.to_vec(),
        Some(columns) => out.chunks_exact(group.net.output_len()).flat_map(|row| columns.iter().map(|c| row[*c])).collect(),
    }
}

/// Columns of a matrix.
fn rows(x: &[f32], columns: std::ops::Range<usize>, width: usize) -> Vec<f32> {
    x.chunks_exact(width.max(1)).flat_map(|row| &row[columns.clone()]).copied().collect()
}

/// How far a number may be from one of these.
fn near(expected: &[f32]) -> f32 {
    let unmasked = expected.iter().map(|x| x.abs()).filter(|x| *x < -0.1 * MASKED);
    TOLERANCE * (1.0 + unmasked.fold(0.0, f32::max))
}
