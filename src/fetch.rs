//! The only place that makes HTTPS calls of our own.
