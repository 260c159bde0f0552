//! What the operator wrote, checked.
