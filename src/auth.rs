//! Who may log in by enhanced authentication: users from a file of verifiers, and SCRAM-SHA-256, by which they prove that they know
//! their passwords. No password is in the file, and none is sent.

pub mod scram;
pub mod users;
