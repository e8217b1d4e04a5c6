//! All integration tests, one program.

#![cfg(test)]

mod audit_log;
mod cloud_assistant_client;
mod ram_vectors;
mod signature_vectors;
