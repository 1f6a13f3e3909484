//! Exact tabular cooperative games: the theory of heterogeneous-agent learning, executable.
