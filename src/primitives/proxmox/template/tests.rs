//! Templates against the simulated cluster.
