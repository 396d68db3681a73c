//! What is known of nodes and their events, and what the maintenance of a network of the original does. This is one node: there is nobody to
//! tell, and nothing that others know better.

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use distkv_store::ticks::{NodeName, TickSet};
use distkv_store::tree::Progress;
use distkv_store::value::{Packer, Token, Tokens};
use distkv_store::view::{NodeState, Survey, View};

use super::super::failure::Failure;
use super::super::session::{Out, Request, Session};
use super::super::stream::{Next, Source};
use super::super::wire::{Fault, Writer};

/// `get_tock`.
pub(super) fn tock(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    session.view()?;
    done(session, request, out);
    Ok(())
}

/// A reply that says nothing but that it was done.
pub(super) fn done(session: &Session, request: &Request<'_>, out: &mut Out) {
    let tock = session.tock();
    session.reply(request, out).uint("tock", tock);
}

/// What is wanted to be known of nodes.
enum Question {
    /// `get_state`: these parts of it.
    State(Vec<Part>),
    /// `enum_node`: the events of one node that entries show or have in their chains.
    Events { node: String, max: usize, current: bool },
    /// `kill_node`: whether a node is forgotten.
    Kill { node: String },
}

/// A part of the state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Nodes,
    Known,
    Present,
    Deleted,
    Missing,
    /// What other nodes have said to lack, who was dropped, and the like: nothing, as there are no others.
    Nothing(&'static str),
    NoneDropped,
}

/// Looks at all entries, some at a time, then answers.
struct Asked {
    view: View,
    survey: Option<Survey>,
    question: Question,
    own: String,
}

/// `get_state`.
pub(super) fn get(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    let asked = |name: &str| request.fields.flag(name);
    let parts = [
        (asked("nodes"), Part::Nodes),
        (asked("known") || asked("superseded"), Part::Known),
        (asked("present"), Part::Present),
        (asked("deleted"), Part::Deleted),
        (asked("missing"), Part::Missing),
        (asked("remote_missing"), Part::Nothing("remote_missing")),
        (asked("node_drop"), Part::NoneDropped),
        (asked("debug"), Part::Nothing("debug")),
    ];
    let parts = parts.into_iter().filter(|(asked, _)| *asked).map(|(_, part)| part).collect();
    ask(session, request, Question::State(parts))
}

/// `enum_node`.
pub(super) fn events(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    let max = request.fields.uint("max")?.filter(|&max| max > 0);
    let question = Question::Events {
        node: request.fields.needed_text("node")?.to_owned(),
        max: max.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX),
        current: request.fields.flag("current"),
    };
    ask(session, request, question)
}

/// `kill_node`: a node that no entry names any more would be forgotten.
pub(super) fn kill(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    let node = request.fields.needed_text("node")?.to_owned();
    ask(session, request, Question::Kill { node })
}

fn ask(session: &mut Session, request: &Request<'_>, question: Question) -> Result<(), Failure> {
    session.operator()?;
    let view = session.view()?.clone();
    let survey = Some(view.survey()?);
    let own = session.face.node.clone();
    session.answer_later(request, Box::new(Asked { view, survey, question, own }))
}

impl Source for Asked {
    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        let Some(mut survey) = self.survey.take() else { return Poll::Ready(Next::End) };
        if self.view.survey_on(&mut survey) == Progress::More {
            self.survey = Some(survey);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let states = self.view.state(survey);
        let unknown = |node: &str| Failure::Unknown(format!("no node {node} is known here"));
        let of = |node: &str| states.iter().find(|(name, _)| name.as_str() == node).map(|(_, state)| state);
        match &self.question {
            Question::State(parts) => {
                message.str("node", &self.own);
                parts.iter().for_each(|part| write_part(message, *part, &states));
            }
            Question::Events { node, max, current } => {
                let Some(state) = of(node) else { return Poll::Ready(Next::Failed(unknown(node))) };
                let ticks = if *current { &state.heads } else { &state.present };
                let ticks: Vec<u64> = ticks.iter().take(*max).map(|tick| tick.0).collect();
                let mut pack = message.key("result");
                pack.array(ticks.len() as u32);
                ticks.into_iter().for_each(|tick| pack.uint(tick));
            }
            Question::Kill { node } => {
                let Some(state) = of(node) else { return Poll::Ready(Next::Failed(unknown(node))) };
                return Poll::Ready(Next::Failed(not_killed(node, state, *node == self.own)));
            }
        }
        Poll::Ready(Next::Message { has_tock: false })
    }
}

/// A known node is never forgotten here: what it wrote must not come back with an old backup.
fn not_killed(node: &str, state: &NodeState, is_own: bool) -> Failure {
    let text = match state.heads.iter().next() {
        Some(tick) => format!("node {node} has entry {}: entries show what it wrote", tick.0),
        None if is_own => format!("{node} is this node itself"),
        None => {
            format!("the numbers of {node} are kept, so that nothing of it can come back: it is no burden")
        }
    };
    Failure::Invalid(text)
}

fn write_part(message: &mut Writer<'_>, part: Part, states: &BTreeMap<NodeName, NodeState>) {
    let (name, ticks): (_, fn(&NodeState) -> &TickSet) = match part {
        Part::Nodes => {
            let mut pack = message.key("nodes");
            pack.map(states.len() as u32);
            for (node, state) in states {
                pack.str(node.as_str());
                pack.uint(state.last.0);
            }
            return;
        }
        Part::Nothing(name) => return message.key(name).map(0),
        Part::NoneDropped => return message.key("node_drop").array(0),
        Part::Known => ("known", |state| &state.known),
        Part::Present => ("present", |state| &state.present),
        Part::Deleted => ("deleted", |state| &state.deleted),
        Part::Missing => ("missing", |state| &state.missing),
    };
    let mut pack = message.key(name);
    let sets: Vec<_> =
        states.iter().map(|(node, state)| (node, ticks(state))).filter(|(_, set)| !set.is_empty()).collect();
    pack.map(sets.len() as u32);
    for (node, set) in sets {
        pack.str(node.as_str());
        write_ranges(&mut pack, set);
    }
}

/// A set of ticks: a number alone, or a pair of the first and the one behind the last.
fn write_ranges(pack: &mut Packer<'_>, set: &TickSet) {
    let ranges = set.ranges();
    pack.array(ranges.len() as u32);
    for (first, last) in ranges {
        if first == last {
            pack.uint(first.0);
        } else {
            pack.array(2);
            pack.uint(first.0);
            pack.uint(last.0.saturating_add(1));
        }
    }
}

/// `check_deleted`: ticks which this node does not know would be told to others as deleted. There are none.
pub(super) fn check_deleted(
    session: &mut Session,
    request: &Request<'_>,
    out: &mut Out,
) -> Result<(), Failure> {
    session.operator()?;
    let bad = Fault::Type {
        field: "nodes",
        expected: "a map from names of nodes to arrays of ticks and pairs of ticks",
    };
    let raw = request.fields.raw("nodes").ok_or(Fault::Missing("nodes"))?;
    let mut tokens = Tokens::new(raw);
    let Some(Token::Map(count)) = tokens.next() else { return Err(bad.into()) };
    for _ in 0..count {
        let node = tokens.next();
        let ranges = tokens.whole().map_err(Fault::Value)?;
        if !matches!(node, Some(Token::Str(_))) || !is_ranges(ranges) {
            return Err(bad.into());
        }
    }
    done(session, request, out);
    Ok(())
}

fn is_ranges(raw: &[u8]) -> bool {
    let mut tokens = Tokens::new(raw);
    let Some(Token::Array(count)) = tokens.next() else { return false };
    let tick = |token: Option<Token<'_>>| matches!(token, Some(Token::Int(0..) | Token::UInt(_)));
    (0..count).all(|_| match tokens.next() {
        Some(Token::Array(2)) => tick(tokens.next()) && tick(tokens.next()),
        other => tick(other),
    })
}

/// `fake_info`, `fake_info_send`: what another node would say. It is taken and changes nothing: what this node knows of itself is right, and
/// there is nobody to send it to.
pub(super) fn fake_info(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    session.operator()?;
    done(session, request, out);
    Ok(())
}

/// `update`: an event of another node. These come by the nodes' own port.
pub(super) fn update(session: &mut Session) -> Result<(), Failure> {
    session.operator()?;
    let text = "events of other nodes are taken from nodes only: load a file with them, or use `set_value`";
    Err(Failure::Unsupported(text.to_owned()))
}
