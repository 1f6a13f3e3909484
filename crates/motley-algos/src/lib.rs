//! The algorithms of Motley, one file each.
