//! Decide, record, permit: the one way to a warehouse.
