//! All integration tests, one program.

#![cfg(test)]

mod api_contract;
mod api_description;
mod audit_full;
mod audit_log;
mod authorisation;
mod bad_parameters;
mod bad_requests;
mod cloud_assistant_client;
mod crypt;
mod fleet;
mod floor_plan;
mod fuzz_corpus;
mod groups;
mod harness;
mod hsm_loss;
mod keys_api;
mod keys_core;
mod keys_of_secrets;
mod leaks;
mod linux_hosts;
mod lists;
mod migrations;
mod quotas;
mod ram_calls;
mod ram_vectors;
mod roles;
mod rotation;
mod secrets;
mod secrets_api;
mod signature_vectors;
mod store;
mod sts;
mod tags;
mod tampering;
mod transport;
mod users;
mod wire_checklist;
