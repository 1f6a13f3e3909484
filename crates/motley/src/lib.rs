//! Cooperative multi-agent reinforcement learning in teams of unlike agents.
