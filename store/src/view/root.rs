//! What a user sees as the whole: his root, and how paths are moved between what he says and where it lies.

use crate::access;
use crate::path::{Element, Path, PathBuilder, PathError, PathRef, Pattern};

/// A root.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: Path,
    /// Where its internal data lies. `None`: it can't have any.
    home: Option<Path>,
    /// The user's paths are the store's, although only those in the root exist for him.
    is_absolute: bool,
}

/// A path as it was, or moved.
#[derive(Clone, Debug)]
pub(super) enum Place<'a> {
    Same(PathRef<'a>),
    Moved(Path),
}

impl Place<'_> {
    pub(super) fn as_path(&self) -> PathRef<'_> {
        match self {
            Self::Same(path) => *path,
            Self::Moved(path) => path.as_path(),
        }
    }
}

impl Root {
    pub(super) fn new(path: Path, is_absolute: bool) -> Self {
        let home = access::home(path.as_path()).ok();
        Self { path, home, is_absolute }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path in the store of one that the user says. `None`: there is no such place.
    pub(super) fn place<'p>(&self, said: PathRef<'p>) -> Option<Place<'p>> {
        if self.path.is_root() {
            return Some(Place::Same(said));
        }
        if self.is_absolute {
            return self.holds(said).then_some(Place::Same(said));
        }
        let (front, rest) = if said.is_internal() {
            (self.home.as_ref()?, said.split_first()?.1)
        } else {
            (&self.path, said)
        };
        joined(front.as_path(), rest).ok().map(Place::Moved)
    }

    /// What a place in the store is to the rules: its path relative to the root. `None`: it lies outside.
    pub(super) fn relative<'p>(&self, place: PathRef<'p>) -> Option<Place<'p>> {
        if self.path.is_root() {
            return Some(Place::Same(place));
        }
        if let Some(rest) = self.home.as_ref().and_then(|home| place.below(home.as_path())) {
            return joined(NULL, rest).ok().map(Place::Moved);
        }
        // What lies at null below the root would be taken for its internal data.
        place.below(self.path.as_path()).filter(|rest| !rest.is_internal()).map(Place::Same)
    }

    /// What the user calls a place whose relative path is known.
    pub(super) fn name<'p>(&self, place: PathRef<'p>, relative: &'p Place<'p>) -> PathRef<'p> {
        if self.is_absolute { place } else { relative.as_path() }
    }

    /// What a path that the user says is to the rules.
    pub(super) fn said<'p>(&self, said: PathRef<'p>) -> Option<Place<'p>> {
        if self.is_absolute { self.relative(said) } else { Some(Place::Same(said)) }
    }

    /// The pattern in the store of one that the user says. What he can't see is out of its reach.
    pub(super) fn pattern(&self, said: Pattern) -> Pattern {
        if self.path.is_root() {
            return said;
        }
        let moved = match PathRef::from_bytes(said.start()) {
            Ok(start) if self.is_absolute => {
                return if self.holds(start) { said } else { Pattern::nothing() };
            }
            Ok(start) if start.is_internal() => {
                self.home.as_ref().map(|home| said.moved(NULL, home.as_path()))
            }
            _ => Some(said.moved(Path::root().as_path(), self.path.as_path())),
        };
        match moved {
            Some(Ok(Some(mut pattern))) => {
                if let Ok(null) = self.path.child(&Element::Null) {
                    pattern.hide(null.as_path());
                }
                pattern
            }
            _ => Pattern::nothing(),
        }
    }

    fn holds(&self, place: PathRef<'_>) -> bool {
        self.relative(place).is_some()
    }
}

/// The path of internal data.
const NULL: PathRef<'static> = PathRef::NULL;

fn joined(front: PathRef<'_>, rest: PathRef<'_>) -> Result<Path, PathError> {
    let mut path = PathBuilder::below(front);
    path.push_path(rest)?;
    Ok(path.finish())
}
