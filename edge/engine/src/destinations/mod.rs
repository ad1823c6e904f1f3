//! Wire formats out, and what deciding to send needs: everything about destinations that can be said without a network.
//! Nothing else knows these formats.
//!
//! A destination reads the partitions' feeds by cursor, so it may fall behind, crash and repeat. What it tells others is
//! absolute: [`ledger`] keeps, for every record on the other side, what it should be and what the other side has
//! confirmed, and only the difference is ever sent.
//!
//! - [`prospect`]: a prospect as the API shows it, read back
//! - [`ledger`]: what should be where, what is there, and when to try again
//! - [`retry`], [`rate`]: how long to wait after what, and how often to ask
//! - [`suspects`]: who fails alone while an endpoint seems to be out
//! - [`tables`]: the lines of exports
//! - [`braze`]: `/users/track` and `/users/export/ids`

pub mod braze;
pub mod ledger;
pub mod prospect;
pub mod rate;
pub mod retry;
pub mod suspects;
pub mod tables;
