//! x
pub fn dbt(input: &[u8]) { if let Ok(t) = std::str::from_utf8(input) { let _ = tollhouse::dbt::attribute(t); } }
