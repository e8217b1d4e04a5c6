//! What is fuzzed, and the functions that an ordinary test of the appliance
//! (`tests/it/fuzz_corpus.rs`) feeds the kept corpus through as well.

#![forbid(unsafe_code)]

// The shared functions call the fuzzed modules by the name of the appliance.
extern crate self as strongroom;

pub mod corpus;
#[path = "../../../src/ram/mod.rs"]
pub mod ram;
pub mod rpc;
pub mod targets;
