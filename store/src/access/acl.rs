//! One access list, compiled: which rule holds for a path, and what follows from the rules of the levels above it.
//!
//! A list is a tree of rules. A rule's pattern is a path in which `+` stands for any one element and `#` for one or more, `%u` for
//! the user's name and `%c` for the client id.
//!
//! For one path one rule holds: of those that match, the first in depth-first order, where at each element the element itself comes before
//! `%u`, `%c`, then `+`, then `#`, and last a `#` which goes on and takes this element as well. So `a.b` comes before `a.+`, this before `a.#`,
//! this before `#.b`, this before `#`.
//!
//! - Null, anywhere, and a first element that begins with `$` or is `.distkv` are matched by their own names only.
//! - What no rule matches is denied. A level *on the way* which no rule matches is passed: who has a right on `a.b` by a rule needs none for `a`.
//! - The list's own rule, the empty pattern, is for the root. Without it the root has the rights of the rule `#`, and is passed.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{OWN_DATA, Right, Rights};
use crate::path::{Element, Path, PathError, PathRef};

/// Stands for the user's name.
pub const USER: &str = "%u";
/// Stands for the client id.
pub const CLIENT: &str = "%c";

/// For whom a list is asked: what `%u` and `%c` stand for. Without a name they match nothing.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// As path bytes of one element.
    user: Option<Path>,
    client: Option<Path>,
}

impl Names {
    /// The names of a user and a client.
    ///
    /// # Errors
    /// A name is longer than a path can be.
    pub fn new(user: Option<&str>, client: Option<&str>) -> Result<Self, PathError> {
        let element = |name: Option<&str>| name.map(|name| Path::from_strs([name])).transpose();
        Ok(Self { user: element(user)?, client: element(client)? })
    }

    fn is(name: Option<&Path>, element: &[u8]) -> bool {
        name.is_some_and(|name| name.as_bytes() == element)
    }
}

/// Marks that there is no such level, and no such rule.
const NEVER: u8 = u8::MAX;
const NO_RULE: u32 = u32::MAX;

/// What a list says about one path and the levels above it. Level 0 is the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The rights on the path itself.
    pub rights: Rights,
    /// How many elements the path has.
    depth: u8,
    /// The first level above the path that can't be passed (`x`).
    barrier: u8,
    /// From this level on, every level above the path lets new entries be made (`n`).
    new_from: u8,
    /// From this level on, every level above the path may be listed (`e`).
    list_from: u8,
    rule: u32,
}

impl Grant {
    /// Everything is allowed.
    pub const ALL: Self =
        Self { rights: Rights::ALL, depth: 0, barrier: NEVER, new_from: 0, list_from: 0, rule: NO_RULE };
    /// Nothing is allowed.
    pub const NONE: Self =
        Self { rights: Rights::NONE, depth: 0, barrier: 0, new_from: NEVER, list_from: NEVER, rule: NO_RULE };

    /// May one do that with what is there at the path? The right itself, and `x` on every level above.
    pub fn may(&self, right: Right) -> bool {
        self.rights.has(right) && self.barrier == NEVER
    }

    /// May one give it a value, if `existing` levels (the root not counted) are there already? `x` on those which are passed, `n` on the last of
    /// them and those that are made; and `c`.
    pub fn may_create(&self, existing: usize) -> bool {
        self.rights.has(Right::Create) && self.way_lacks(existing).is_none()
    }

    /// Which right is lacking to get there, with so many levels existing?
    pub fn way_lacks(&self, existing: usize) -> Option<Right> {
        if usize::from(self.barrier) < existing {
            Some(Right::Pass)
        } else if existing < usize::from(self.depth) && usize::from(self.new_from) > existing {
            Some(Right::New)
        } else {
            None
        }
    }

    /// May it be written whatever is there?
    pub fn may_write_anyway(&self) -> bool {
        self.barrier == NEVER
            && self.new_from == 0
            && self.rights.has(Right::Write)
            && self.rights.has(Right::Create)
    }

    /// The first level above the path that can't be passed.
    pub fn barrier(&self) -> Option<usize> {
        (self.barrier != NEVER).then(|| self.barrier.into())
    }

    /// The last level above the path, from `level` on, that may not be listed.
    pub fn unlisted(&self, level: usize) -> Option<usize> {
        let from = usize::from(self.list_from);
        (self.list_from != 0 && from > level).then(|| from.saturating_sub(1).min(self.depth.into()))
    }
}

/// A rule, as an answer to "why?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The list's pattern.
    pub pattern: Path,
    /// What it allows.
    pub rights: Rights,
}

type Children = HashMap<Box<[u8]>, u32, RandomState>;

#[derive(Debug, Default)]
struct Node {
    rule: Option<Rule>,
    exact: Children,
    user: Option<u32>,
    client: Option<u32>,
    one: Option<u32>,
    many: Option<u32>,
    /// Whether the node itself is a `#`.
    is_many: bool,
}

/// A compiled list.
#[derive(Debug)]
pub struct Acl {
    /// The first is the root; there always is one.
    nodes: Vec<Node>,
}

impl Acl {
    /// Compiles rules.
    pub fn new<'r>(rules: impl IntoIterator<Item = (PathRef<'r>, Rights)>) -> Self {
        let mut acl = Self { nodes: vec![Node::default()] };
        for (pattern, rights) in rules {
            acl.add(pattern, rights);
        }
        acl
    }

    fn add(&mut self, pattern: PathRef<'_>, rights: Rights) {
        let (mut at, mut rest) = (0, pattern);
        while let Some((element, behind)) = rest.split_first() {
            let fresh = self.nodes.len() as u32;
            let Some(node) = self.nodes.get_mut(at as usize) else { return };
            let mut is_many = false;
            at = match element.elements().next() {
                Some(Element::Str(name)) if name == USER => *node.user.get_or_insert(fresh),
                Some(Element::Str(name)) if name == CLIENT => *node.client.get_or_insert(fresh),
                Some(Element::Str(name)) if name == "+" => *node.one.get_or_insert(fresh),
                Some(Element::Str(name)) if name == "#" => {
                    is_many = true;
                    *node.many.get_or_insert(fresh)
                }
                _ => *node.exact.entry(element.as_bytes().into()).or_insert(fresh),
            };
            if at == fresh {
                self.nodes.push(Node { is_many, ..Node::default() });
            }
            rest = behind;
        }
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.rule = Some(Rule { pattern: pattern.to_path(), rights });
        }
    }

    /// What the list says about `path`.
    pub fn grant(&self, path: PathRef<'_>, names: &Names) -> Grant {
        let mut walk = Walk { acl: self, names, now: SmallVec::new(), next: SmallVec::new() };
        walk.now.push(0);
        let (mut rule, mut rights) = self.root();
        let mut way = if rule == Some(0) { rights } else { rights.with(Right::Pass).with(Right::New) };
        let mut grant = Grant { depth: 0, barrier: NEVER, new_from: 0, list_from: 0, ..Grant::NONE };
        let mut rest = path;
        while let Some((element, behind)) = rest.split_first() {
            if grant.barrier == NEVER && !way.has(Right::Pass) {
                grant.barrier = grant.depth;
            }
            grant.depth = grant.depth.saturating_add(1);
            if !way.has(Right::New) {
                grant.new_from = grant.depth;
            }
            if !way.has(Right::List) {
                grant.list_from = grant.depth;
            }
            walk.step(element, grant.depth == 1);
            (rule, rights) = walk.rule();
            // A level that no rule matches is no barrier. It gives no other right.
            way = if rule.is_some() { rights } else { Rights::NONE.with(Right::Pass).with(Right::New) };
            rest = behind;
        }
        Grant { rights, rule: rule.unwrap_or(NO_RULE), ..grant }
    }

    /// The rule that a grant came by.
    pub fn rule(&self, grant: &Grant) -> Option<&Rule> {
        self.nodes.get(grant.rule as usize)?.rule.as_ref()
    }

    fn root(&self) -> (Option<u32>, Rights) {
        let top = self.nodes.first();
        if let Some(rule) = top.and_then(|top| top.rule.as_ref()) {
            return (Some(0), rule.rights);
        }
        let many = top.and_then(|top| top.many);
        match many.and_then(|at| self.nodes.get(at as usize)?.rule.as_ref()) {
            Some(rule) => (many, rule.rights),
            None => (None, Rights::NONE),
        }
    }
}

/// The nodes which match the elements so far, those first that come first; none twice.
struct Walk<'a> {
    acl: &'a Acl,
    names: &'a Names,
    now: SmallVec<[u32; 12]>,
    next: SmallVec<[u32; 12]>,
}

impl Walk<'_> {
    fn step(&mut self, element: PathRef<'_>, is_first: bool) {
        let by_name_only = element.is_internal() || (is_first && is_reserved(element));
        let element = element.as_bytes();
        let Self { acl, names, now, next } = self;
        next.clear();
        for &at in now.iter() {
            let Some(node) = acl.nodes.get(at as usize) else { continue };
            if !node.exact.is_empty() {
                next.extend(node.exact.get(element).copied());
            }
            if by_name_only {
                continue;
            }
            next.extend(node.user.filter(|_| Names::is(names.user.as_ref(), element)));
            next.extend(node.client.filter(|_| Names::is(names.client.as_ref(), element)));
            next.extend(node.one);
            // A node that is a `#` is reached from its parent, and from itself.
            for many in [node.many, node.is_many.then_some(at)].into_iter().flatten() {
                if !next.contains(&many) {
                    next.push(many);
                }
            }
        }
        std::mem::swap(now, next);
    }

    /// The first rule of all that match.
    fn rule(&self) -> (Option<u32>, Rights) {
        let found = self.now.iter().find_map(|&at| {
            let rule = self.acl.nodes.get(at as usize)?.rule.as_ref()?;
            Some((Some(at), rule.rights))
        });
        found.unwrap_or((None, Rights::NONE))
    }
}

/// Is a path of one element, the first of a path, out of reach of wildcards?
fn is_reserved(element: PathRef<'_>) -> bool {
    matches!(element.elements().next(), Some(Element::Str(name)) if name.starts_with('$') || name == OWN_DATA)
}

#[cfg(test)]
mod tests;
