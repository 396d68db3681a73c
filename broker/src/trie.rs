//! Which subscriptions match a topic: a tree of topic levels, changed in place.
//!
//! It owns filters and, at the end of each, the subscribers with one value apiece (what their subscription wants). It knows nothing of
//! sessions or connections: a subscriber is a number. The memory is kept small since a broker may hold millions of
//! filters: level names are stored once for the whole tree, all edges live in one hash table, and a node is 40 bytes.
//!
//! ```text
//! a/b        node(a) -> node(b)          subscribers at b
//! a/+/c      node(a) -> plus -> node(c)  subscribers at c
//! a/#        node(a) -> hash             subscribers at hash; also matches "a" [MQTT-4.7.1-2]
//! ```

use compact_str::CompactString;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use smallvec::SmallVec;
use std::hash::BuildHasher;

/// A subscriber's number, given by the owner of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub u32);

/// "No such node" or "no such level name".
const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// From this number of subscribers of one filter on they are kept in a hash table.
const MANY: usize = 16;

/// Filters and their subscribers. `V` is what a subscription carries.
#[derive(Debug)]
pub struct Trie<V> {
    nodes: Vec<Node<V>>,
    /// Slots of `nodes` to be used again.
    free: Vec<u32>,
    /// (node, level name) -> child node.
    edges: HashMap<(u32, u32), u32, FixedState>,
    levels: Levels,
    subscriptions: usize,
}

#[derive(Debug)]
struct Node<V> {
    parent: u32,
    /// The level name by which the parent knows this node; `NONE` for `+` and `#`.
    level: u32,
    /// How many children `edges` has for this node.
    children: u32,
    plus: u32,
    hash: u32,
    subscribers: Subscribers<V>,
}

impl<V: Copy + Ord> Default for Trie<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Copy + Ord> Trie<V> {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::new(NONE, NONE)],
            free: Vec::new(),
            edges: HashMap::with_hasher(FixedState::default()),
            levels: Levels::default(),
            subscriptions: 0,
        }
    }

    /// The number of subscriptions: pairs of filter and subscriber.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subscriptions
    }

    /// Is there no subscription at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscriptions == 0
    }

    /// Adds a subscription, or replaces the value of the one that is there [MQTT-3.8.4-3]. Answers the replaced value.
    /// `filter` must be a valid topic filter.
    pub fn insert(&mut self, filter: &str, subscriber: SubscriberId, value: V) -> Option<V> {
        let mut node = ROOT;
        for level in filter.split('/') {
            node = match level {
                "+" => self.wildcard_child(node, |n| &mut n.plus),
                "#" => self.wildcard_child(node, |n| &mut n.hash),
                name => self.named_child(node, name),
            };
        }
        let replaced = self.node_mut(node).subscribers.insert(subscriber, value);
        if replaced.is_none() {
            self.subscriptions += 1;
        }
        replaced
    }

    /// Takes a subscription away, and with it what no other filter needs. Answers its value, if it was there.
    pub fn remove(&mut self, filter: &str, subscriber: SubscriberId) -> Option<V> {
        let mut node = ROOT;
        for level in filter.split('/') {
            node = match level {
                "+" => self.node(node).plus,
                "#" => self.node(node).hash,
                name => self.child(node, self.levels.find(name)),
            };
            if node == NONE {
                return None;
            }
        }
        let removed = self.node_mut(node).subscribers.remove(subscriber)?;
        self.subscriptions -= 1;
        self.prune(node);
        Some(removed)
    }

    /// Collects the subscriptions that match `topic`, ordered by subscriber and, among those of one subscriber, the greatest value first.
    /// `found` is cleared first.
    pub fn matches(&self, topic: &str, found: &mut Vec<(SubscriberId, V)>) {
        found.clear();
        let names: SmallVec<[u32; 16]> = topic.split('/').map(|name| self.levels.find(name)).collect();
        let hidden = topic.starts_with('$');
        let mut todo: SmallVec<[(u32, usize); 16]> = SmallVec::new();
        todo.push((ROOT, 0));
        while let Some((at, depth)) = todo.pop() {
            let node = self.node(at);
            // Wildcards at the first level do not match topics that begin with `$` [MQTT-4.7.2-1].
            let wildcards = depth > 0 || !hidden;
            if node.hash != NONE && wildcards {
                self.node(node.hash).subscribers.collect(found);
            }
            let Some(&name) = names.get(depth) else {
                node.subscribers.collect(found);
                continue;
            };
            if node.plus != NONE && wildcards {
                todo.push((node.plus, depth + 1));
            }
            if node.children > 0 {
                let child = self.child(at, name);
                if child != NONE {
                    todo.push((child, depth + 1));
                }
            }
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    }

    fn node(&self, index: u32) -> &Node<V> {
        &self.nodes[index as usize]
    }

    fn node_mut(&mut self, index: u32) -> &mut Node<V> {
        &mut self.nodes[index as usize]
    }

    fn child(&self, node: u32, name: u32) -> u32 {
        if name == NONE {
            return NONE;
        }
        self.edges.get(&(node, name)).copied().unwrap_or(NONE)
    }

    fn named_child(&mut self, node: u32, name: &str) -> u32 {
        let known = self.child(node, self.levels.find(name));
        if known != NONE {
            return known;
        }
        let level = self.levels.take(name);
        let child = self.add(Node::new(node, level));
        self.edges.insert((node, level), child);
        self.node_mut(node).children += 1;
        child
    }

    fn wildcard_child(&mut self, node: u32, slot: fn(&mut Node<V>) -> &mut u32) -> u32 {
        let known = *slot(self.node_mut(node));
        if known != NONE {
            return known;
        }
        let child = self.add(Node::new(node, NONE));
        *slot(self.node_mut(node)) = child;
        child
    }

    fn add(&mut self, node: Node<V>) -> u32 {
        if let Some(index) = self.free.pop() {
            *self.node_mut(index) = node;
            return index;
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).expect("a filter needs memory: 2^32 nodes are out of reach")
    }

    /// Frees `node` and those above it that hold nothing any more.
    fn prune(&mut self, mut node: u32) {
        while node != ROOT && self.node(node).is_unused() {
            let Node { parent, level, .. } = *self.node(node);
            if level == NONE {
                let above = self.node_mut(parent);
                let slot = if above.plus == node { &mut above.plus } else { &mut above.hash };
                *slot = NONE;
            } else {
                self.edges.remove(&(parent, level));
                self.levels.give_back(level);
                self.node_mut(parent).children -= 1;
            }
            self.free.push(node);
            node = parent;
        }
        if self.subscriptions == 0 {
            *self = Self::new();
        }
    }
}

impl<V: Copy + Ord> Node<V> {
    fn new(parent: u32, level: u32) -> Self {
        Self { parent, level, children: 0, plus: NONE, hash: NONE, subscribers: Subscribers::None }
    }

    fn is_unused(&self) -> bool {
        self.children == 0
            && self.plus == NONE
            && self.hash == NONE
            && matches!(self.subscribers, Subscribers::None)
    }
}

/// The subscribers of one filter. Most filters have one; a few have tens of thousands.
#[derive(Debug)]
enum Subscribers<V> {
    None,
    One(SubscriberId, V),
    #[expect(clippy::box_collection, reason = "16 bytes in each node instead of 32")]
    Few(Box<Vec<(SubscriberId, V)>>),
    Many(Box<HashMap<SubscriberId, V, FixedState>>),
}

impl<V: Copy + Ord> Subscribers<V> {
    fn insert(&mut self, subscriber: SubscriberId, value: V) -> Option<V> {
        match self {
            Self::None => {
                *self = Self::One(subscriber, value);
                None
            }
            Self::One(other, old) if *other == subscriber => Some(std::mem::replace(old, value)),
            Self::One(other, old) => {
                *self = Self::Few(Box::new(vec![(*other, *old), (subscriber, value)]));
                None
            }
            Self::Few(few) => {
                if let Some((_, old)) = few.iter_mut().find(|(other, _)| *other == subscriber) {
                    return Some(std::mem::replace(old, value));
                }
                few.push((subscriber, value));
                if few.len() > MANY {
                    *self = Self::Many(Box::new(few.iter().copied().collect()));
                }
                None
            }
            Self::Many(many) => many.insert(subscriber, value),
        }
    }

    fn remove(&mut self, subscriber: SubscriberId) -> Option<V> {
        let removed = match self {
            Self::One(other, value) if *other == subscriber => *value,
            Self::None | Self::One(..) => return None,
            Self::Few(few) => {
                let at = few.iter().position(|(other, _)| *other == subscriber)?;
                few.swap_remove(at).1
            }
            Self::Many(many) => many.remove(&subscriber)?,
        };
        match self {
            Self::None | Self::One(..) => *self = Self::None,
            Self::Few(few) => {
                if let [(last, value)] = few[..] {
                    *self = Self::One(last, value);
                }
            }
            Self::Many(many) => {
                if many.len() <= MANY / 2 {
                    *self = Self::Few(Box::new(many.drain().collect()));
                } else if many.len() < many.capacity() / 8 {
                    many.shrink_to_fit();
                }
            }
        }
        Some(removed)
    }

    fn collect(&self, found: &mut Vec<(SubscriberId, V)>) {
        match self {
            Self::None => {}
            Self::One(subscriber, value) => found.push((*subscriber, *value)),
            Self::Few(few) => found.extend_from_slice(few),
            Self::Many(many) => found.extend(many.iter().map(|(subscriber, value)| (*subscriber, *value))),
        }
    }
}

/// The names of levels, each stored once and counted.
#[derive(Debug, Default)]
struct Levels {
    names: Vec<(CompactString, u32)>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
}

impl Levels {
    fn find(&self, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name);
        self.index.find(hash, |&at| self.names[at as usize].0 == name).copied().unwrap_or(NONE)
    }

    fn take(&mut self, name: &str) -> u32 {
        let known = self.find(name);
        if known != NONE {
            self.names[known as usize].1 += 1;
            return known;
        }
        let at = if let Some(at) = self.free.pop() {
            self.names[at as usize] = (name.into(), 1);
            at
        } else {
            self.names.push((name.into(), 1));
            u32::try_from(self.names.len() - 1).expect("no more names than nodes")
        };
        let Self { names, index, hasher, .. } = self;
        index.insert_unique(hasher.hash_one(name), at, |&at| hasher.hash_one(names[at as usize].0.as_str()));
        at
    }

    fn give_back(&mut self, at: u32) {
        let (name, uses) = &mut self.names[at as usize];
        *uses -= 1;
        if *uses == 0 {
            let hash = self.hasher.hash_one(name.as_str());
            *name = CompactString::default();
            if let Ok(entry) = self.index.find_entry(hash, |&other| other == at) {
                entry.remove();
            }
            self.free.push(at);
        }
    }
}

#[cfg(test)]
mod tests;
