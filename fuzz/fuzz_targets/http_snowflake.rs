#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tollhouse_fuzz::http_snowflake(input));
