//! MQTT and the store joined: a retained topic is an entry.

mod json;
mod payload;
mod topic;
