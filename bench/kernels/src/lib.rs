//! Nothing but the benches in `benches/`.
