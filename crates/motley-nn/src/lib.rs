//! Networks, distributions, optimisers and teams of policies.
//!
//! Every network keeps its parameters in one flat vector with a named layout ([`net::Net`]); losses are row functions on
//! slices ([`dist`], [`objective`]); steps go through one guarded optimiser ([`optim`]).

pub mod action_critic;
pub mod actor;
pub mod burn_net;
pub mod choice_critic;
pub mod critic;
pub mod cross_group;
pub mod dist;
pub mod diversity;
pub mod dueling;
pub mod explore;
pub mod graph;
mod heads;
pub mod init;
pub mod net;
pub mod objective;
pub mod optim;
pub mod passes;
pub mod pathwise;
pub mod pick;
pub mod policy;
pub mod qmix;
pub mod qtran;
pub mod target;
pub mod value_norm;
pub mod weights;

pub use action_critic::ActionCritic;
pub use actor::{Actor, ActorRows, Ascent, Besides, Divergence, Outputs, ValueGoal};
pub use choice_critic::{ChoiceCritic, ChoiceCriticConfig, Taken};
pub use critic::{Critic, CriticConfig, Source, Values};
pub use cross_group::{CrossGroup, CrossGroupConfig};
pub use dist::Head;
pub use diversity::system_neural_diversity;
pub use dueling::Dueling;
pub use explore::Explore;
pub use graph::{Columns, Graph, Topology};
pub use motley_kernels::{Activation, Pool, QmixShape, QmixWork, RowLoss, Workspace};
pub use net::{Batch, Engine, Net, NetScratch, NetSpec, Sequence};
pub use objective::Objective;
pub use optim::{Adam, AdamConfig, StepReport, UpdateError};
pub use passes::NetWork;
pub use pathwise::Noise;
pub use pick::{Cut, Pick};
pub use policy::{ActError, ActScratch, Decision, Mode, ObsBatch, Policy, TeamPolicy};
pub use qmix::QmixMixer;
pub use qtran::{JointGroup, JointRows, JointTape, Qtran, QtranShape};
pub use value_norm::ValueNorm;
pub use weights::Weights;
