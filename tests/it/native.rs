//! The native port, from outside: values and their conditions, trees, watches, both faces on one store, hostile clients, what the
//! original's clients say and do.

mod faces;
mod hostile;
mod logins;
mod messages;
mod rights;
mod state;
mod trees;
mod values;
mod watches;
