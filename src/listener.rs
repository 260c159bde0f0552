//! Accepts clients and relays what the gate permits.
