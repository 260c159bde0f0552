//! Tells every task when to stop.
