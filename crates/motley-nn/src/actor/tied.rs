//! Gradients of picked rows: each row by itself, or tied to the others of its batch.

use std::borrow::Cow;

use motley_core::{Metrics, Stream};
use motley_data::rollout::Rollout;
use motley_kernels::{Pool, RowLoss};

use super::loss::Scales;
use super::{Actor, ActorLoss, ActorRows, Ascent, STATS, ValueGoal, describe, gather};
use crate::cross_group::CrossGroup;
use crate::net::{Batch, Sequence};
use crate::optim::{Adam, AdamConfig, UpdateError};
use crate::passes::apply_loss;
use crate::pick::{Pick, Rows};

/// What a network put out for the picked rows, none left out: member m's row of moment q is `(q / run * members + m) * run + q % run`.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// `[rows, width]`
    pub out: &'a [f32],
    /// Entries of a row.
    pub width: usize,
    /// Which of the [`ActorRows`] a row is.
    pub indices: &'a [usize],
    /// Members that share the network.
    pub members: usize,
    /// Rows of one member that follow each other.
    pub run: usize,
}

/// What an actor's loss has besides its surrogate and entropy.
#[derive(Clone, Copy)]
pub enum Besides<'a> {
    /// Nothing.
    Nothing,
    /// The cross-group inverse loss, which ties the rows of a batch together.
    CrossGroup(&'a CrossGroup),
    /// The loss of the row's value, in a network that puts one out ([`Actor::with_value`]).
    Value(ValueGoal<'a>),
}

/// Rows picked for one gradient step, with what a recurrent network needs.
pub(super) struct Picked<'a> {
    pub(super) rows: Rows,
    x: Cow<'a, [f32]>,
    memory: Vec<f32>,
    first: Vec<bool>,
}

impl Picked<'_> {
    pub(super) fn batch(&self) -> Batch<'_> {
        let (active, memory, first) = (&self.rows.active, &self.memory, &self.first);
        let sequence = (!active.is_empty()).then_some(Sequence { active, memory, first });
        Batch { x: &self.x, rows: self.rows.indices.len(), sequence }
    }
}

impl Actor {
    /// A second head beside the first, as wide, with weights drawn from `rng`: for what [`CrossGroup`] predicts. Acting leaves it out.
    pub fn add_second_head(&mut self, adam: AdamConfig, rng: &Stream) {
        let narrow = self.net.clone();
        self.net = narrow.with_second_head(rng);
        self.narrow = Some(narrow);
        self.adam = Adam::new(self.net.params().len(), adam);
        self.grad = vec![0.0; self.net.params().len()];
    }

    /// [`Actor::step`] with what its loss has besides.
    ///
    /// # Errors
    /// [`UpdateError::Diverged`].
    pub fn step_with(
        &mut self,
        pool: &Pool,
        roll: &Rollout,
        all: &ActorRows,
        pick: &Pick,
        ascent: Ascent<'_>,
        besides: Besides<'_>,
    ) -> Result<Metrics, UpdateError> {
        let Some((stats, count, mut more)) = self.gradient(pool, roll, all, pick, ascent, besides) else {
            return Ok(Metrics::new());
        };
        let report = self.take_step(ascent.lr)?;
        more.merge("", &describe(&stats, count, report.grad_norm, report.applied));
        Ok(more)
    }

    /// Leaves the gradient of the picked rows' loss in `self.grad`; statistics, active rows (at least one) and what the rest reports,
    /// or `None` where no row has a part in the loss.
    pub(super) fn gradient(
        &mut self,
        pool: &Pool,
        roll: &Rollout,
        all: &ActorRows,
        pick: &Pick,
        ascent: Ascent<'_>,
        besides: Besides<'_>,
    ) -> Option<(Vec<f64>, f64, Metrics)> {
        let goal = if let Besides::Value(goal) = besides { Some(goal) } else { None };
        // What ties rows together asks for all of them.
        let tied = matches!(besides, Besides::CrossGroup(_));
        let learns = |r: usize| tied || all.active[r] || goal.is_some_and(|goal| goal.counts[r]);
        let picked = self.picked(roll, all, pick, &learns);
        let indices = &picked.rows.indices;
        let count = indices.iter().filter(|r| all.active[**r]).count();
        let valued = goal.map_or(0, |goal| indices.iter().filter(|r| goal.counts[**r]).count());
        if count + valued == 0 {
            return None;
        }
        let (count, valued) = (count.max(1) as f64, valued.max(1) as f64);
        let (head, free, output) = (self.head.clone(), self.net.free().to_vec(), self.net.output_len());
        let scales = Scales { policy: (1.0 / count) as f32, value: (1.0 / valued) as f32 };
        let loss = ActorLoss { head: &head, output, free: &free, all, indices, ascent, scales, goal };
        let (stats, mut more) = match besides {
            Besides::CrossGroup(cross) => self.pull_back_tied(pool, all, &picked, &loss, cross),
            Besides::Nothing | Besides::Value(_) => (self.pull_back(pool, &picked, &loss), Metrics::new()),
        };
        let free_at = self.grad.len() - free.len();
        for (g, s) in self.grad[free_at..].iter_mut().zip(&stats[STATS..]) {
            *g = *s as f32;
        }
        if goal.is_some() {
            more.add("value", stats[6] / valued);
        }
        Some((stats, count, more))
    }

    /// Runs a row loss over the picked rows: gradient into `self.grad`, statistics returned.
    pub(super) fn pull_back(&mut self, pool: &Pool, picked: &Picked<'_>, loss: &dyn RowLoss) -> Vec<f64> {
        let mut stats = vec![0.0; loss.stats_len()];
        self.net.loss_grad(&self.engine, pool, picked.batch(), loss, &mut self.grad, &mut stats, &mut self.work);
        stats
    }

    /// The same, forward and backward apart, so that the cross-group loss sees all outputs.
    fn pull_back_tied(
        &mut self,
        pool: &Pool,
        all: &ActorRows,
        picked: &Picked<'_>,
        loss: &dyn RowLoss,
        cross: &CrossGroup,
    ) -> (Vec<f64>, Metrics) {
        let indices = &picked.rows.indices;
        let (members, width, rows) = (self.members.len(), self.net.output_len(), indices.len());
        let (mut out, mut d_out) = (vec![0.0; rows * width], vec![0.0; rows * width]);
        let mut stats = vec![0.0; loss.stats_len()];
        self.net.forward_batch(pool, picked.batch(), &mut out, &mut self.work);
        apply_loss(loss, &out, width, &mut d_out, &mut stats);
        let run = rows / (members * picked.rows.active.len().max(1));
        debug_assert_eq!(rows, members * run * picked.rows.active.len().max(1), "no row is left out of what is tied");
        let more = cross.pull(all, &Outputs { out: &out, width, indices, members, run }, &mut d_out);
        self.net.backward_batch(&self.engine, pool, picked.batch(), &d_out, None, &mut self.grad, &mut self.work);
        (stats, more)
    }

    /// The picked rows as the network reads them, those that something `learns` from and what leads to them.
    pub(super) fn picked<'a>(
        &self,
        roll: &Rollout,
        all: &'a ActorRows,
        pick: &Pick,
        learns: &dyn Fn(usize) -> bool,
    ) -> Picked<'a> {
        let rows = pick.rows(self.members.len(), all.rows, all.steps, learns);
        let x = if *pick == Pick::All && rows.indices.len() == all.old.len() {
            Cow::Borrowed(&all.x[..])
        } else {
            Cow::Owned(gather(&all.x, self.net.input_len(), &rows.indices))
        };
        let (mut memory, mut first) = (Vec::new(), Vec::new());
        for (m, c) in &rows.sequences {
            let (slot, range) = (c.start as usize * roll.memory_len(), &self.memory_at[*m]);
            memory.extend_from_slice(&roll.lanes[c.env as usize].memory[slot + range.start..slot + range.end]);
        }
        for (l, count) in rows.active.iter().enumerate() {
            first.extend(rows.sequences[..*count].iter().map(|(_, c)| roll.lanes[c.env as usize].first[c.start as usize + l]));
        }
        Picked { rows, x, memory, first }
    }
}
