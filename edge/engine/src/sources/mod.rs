//! Wire formats in: what a source sends becomes [`crate::event::Record`]s. Nothing else knows these formats.
