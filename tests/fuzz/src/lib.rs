//! What is fuzzed, shared by the fuzzer and by an ordinary test that feeds the
//! kept corpus through the same functions.

#![forbid(unsafe_code)]

pub mod corpus;
pub mod targets;
