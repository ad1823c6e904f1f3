//! The scoring model: rules as data, their evaluation over events, and the explanation of every point.
