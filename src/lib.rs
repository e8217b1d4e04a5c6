//! Strongroom: a secrets vault appliance for ECS instance credentials, backed
//! by a hardware security module.
//!
//! A module imports only from floors **below** its own; modules of one floor do
//! not know each other. `tests/it/floor_plan.rs` holds the code to this table.
//!
//! | floor | modules |
//! | --- | --- |
//! | 9 | [`cli`]: arguments and subcommands |
//! | 8 | [`appliance`]: builds everything once, runs it, stops it cleanly |
//! | 7 | [`metrics`]: numbers for Prometheus |
//! | 6 | [`api`]: listener, wire, gate, actions |
//! | 5 | [`rotation`]: drives rotations |
//! | 4 | [`vault`]: the only place that turns a sealed version into plaintext |
//! | 3 | [`identity`]: who signed this request; [`keys`]: the customer master keys; changes of both need leave of `audit` |
//! | 2 | [`audit`]: what was decided and done, on record; [`notify`]: tells operators what became of rotations |
//! | 1 | [`ram`], [`seal`], [`store`], [`cloud_assistant`] |
//! | 0 | [`model`], [`runtime`], [`rpc`] |

#![forbid(unsafe_code)]

pub mod api;
pub mod appliance;
pub mod audit;
pub mod cli;
pub mod cloud_assistant;
pub mod identity;
pub mod keys;
pub mod metrics;
pub mod model;
pub mod notify;
pub mod ram;
pub mod rotation;
pub mod rpc;
pub mod runtime;
pub mod seal;
pub mod store;
pub mod vault;
