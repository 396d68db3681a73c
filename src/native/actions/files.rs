//! Files on the server, in the original's formats: `save` writes a snapshot, `log` every change from now on. Below one directory only.

use std::sync::Arc;

use distkv_store::value::Token;

use super::super::failure::Failure;
use super::super::session::{Request, Session};
use super::super::stream::Next;
use super::super::wire::{Fault, Fields};
use super::work::{Reply, Work};
use crate::original::{self, FolderError, LogError, SaveError};

/// The name of a file in a request; nothing if it is missing or nil. (Old clients send it as a byte string.)
fn name_of(fields: &Fields<'_>) -> Result<Option<String>, Failure> {
    let bad = Fault::Type { field: "path", expected: "the name of a file, as a string" };
    match fields.token("path") {
        None | Some(Token::Nil) => Ok(None),
        Some(Token::Str(name)) => Ok(Some(name.to_owned())),
        Some(Token::Bin(name)) => Ok(Some(String::from_utf8(name.to_vec()).map_err(|_| bad)?)),
        Some(_) => Err(bad.into()),
    }
}

/// `save`: with `full` internal data as well.
pub(super) fn save(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    session.operator()?;
    let name = name_of(&request.fields)?.ok_or(Fault::Missing("path"))?;
    let full = request.fields.flag("full");
    let face = Arc::clone(&session.face);
    let work = async move {
        let saved = original::save(&face.store, &face.folder, &name, full).await.map_err(of_save)?;
        let reply: Reply = Box::new(move |message| {
            message.bool("result", true).uint("entries", saved.records).uint("bytes", saved.bytes);
            Next::Message { has_tock: false }
        });
        Ok(reply)
    };
    session.answer_later(request, Work::new(work))
}

/// `log`: with `fetch` it begins with what is there. A new one takes the place of the one before; without `path` there is none any more.
pub(super) fn log(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    session.operator()?;
    let name = name_of(&request.fields)?;
    let fetch = request.fields.flag("fetch");
    let log = session.face.log.clone();
    let work = async move {
        let result = match name {
            Some(name) => log.start(&name, fetch).await.map(|()| true),
            None => log.stop().await,
        };
        let result = result.map_err(of_log)?;
        let reply: Reply = Box::new(move |message| {
            message.bool("result", result);
            Next::Message { has_tock: false }
        });
        Ok(reply)
    };
    session.answer_later(request, Work::new(work))
}

fn of_folder(error: &FolderError) -> Failure {
    match error {
        FolderError::None => Failure::Unsupported(error.to_string()),
        FolderError::Outside { .. } | FolderError::NoFile { .. } => Failure::Invalid(error.to_string()),
        FolderError::Io { .. } => Failure::Unavailable(error.to_string()),
    }
}

fn of_save(error: SaveError) -> Failure {
    match error {
        SaveError::File(error) => of_folder(&error),
        SaveError::TooFast => Failure::Unavailable(error.to_string()),
    }
}

fn of_log(error: LogError) -> Failure {
    match error {
        LogError::File(error) => of_folder(&error),
        LogError::TooFast | LogError::Stopping => Failure::Unavailable(error.to_string()),
    }
}
