//! Who is who: checks of what a user shows for himself (password, token, SCRAM) against what is kept of him. Rights are not
//! found here; they are the store's.
//!
//! | module | owns |
//! |---|---|
//! | `digest` | the SHA-256 of a secret, on which all checks are made |
//! | `password` | Argon2id and its PHC string |
//! | `token` | device tokens |
//! | `secrets` | what of these stands in a user's record |
//! | `remembered` | logins that were right before |
//! | `delays` | who has to wait since logins failed |
//! | `checks` | the check itself, with its bounds |
//! | `logins` | who logs in, for all faces: users of the store, by whatever they show |
//! | `scram`, `users` | SCRAM-SHA-256, and its users from a file |

pub mod checks;
mod clock;
mod delays;
pub mod digest;
pub mod logins;
pub mod password;
mod remembered;
pub mod scram;
pub mod secrets;
pub mod token;
pub mod users;
