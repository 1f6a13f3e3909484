//! Fused CPU kernels of Motley, each beside its plain reference.
