//! What dbt says in a comment.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tollhouse_fuzz::dbt(input));
