//! Networks, distributions, optimisers and teams of policies of Motley.
