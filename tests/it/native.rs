//! The native port, from outside: values and their conditions, trees, watches, both faces on one store, hostile clients, what the
//! original's clients say and do.

mod faces;
mod files;
mod hostile;
mod logins;
mod messages;
mod original;
mod recorded;
mod rights;
mod state;
mod trees;
mod values;
mod watches;
