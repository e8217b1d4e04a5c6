//! All integration tests, one program.

#![cfg(test)]

mod audit_log;
mod authorisation;
mod bad_parameters;
mod bad_requests;
mod cloud_assistant_client;
mod floor_plan;
mod harness;
mod ram_vectors;
mod rotation;
mod secrets;
mod signature_vectors;
mod transport;
mod users;
