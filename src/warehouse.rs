//! The kinds of warehouse, and what is particular about each.
