//! The only place that builds TLS configurations.
