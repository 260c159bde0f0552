//! Health, metrics and introspection over HTTP.
