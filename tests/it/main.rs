//! Tests of the whole: real processes and real clients, and the house rules that can be checked by reading the source.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is how a failure is told")]

mod api;
mod cli;
mod cli_access;
mod cli_data;
mod client;
mod client_login;
mod clients;
mod conformance;
mod corpora;
mod delayed;
mod disk;
mod dump;
mod extensions;
mod flapping;
mod harness;
mod home_assistant;
mod home_assistant_ws;
mod hostile;
mod idle;
mod kill;
mod listeners;
mod metrics;
mod mqtt_cli;
mod native;
mod quick_start;
mod rates;
mod replay;
mod scram;
mod service;
mod sessions;
mod sys;
mod tidy;
mod users;
mod why;
mod wills;
