//! What clients ask of DistKV by user properties, whose names all begin with `distkv-`. They are for the broker: none of them
//! travels on to subscribers, so that nobody can pass for it.
//!
//! | packet | name | value |
//! |---|---|---|
//! | PUBLISH, retained | `distkv-if` | `NODE:TICK` or `new`: write only if the entry has that version, or is none |
//! | SUBSCRIBE | `distkv-replay` | NAME: tell on `$distkv/replay/NAME` when all retained messages were sent |
//! | SUBSCRIBE | `distkv-meta` | `1`: tell with each message where its value comes from |

use crate::codec::UserProperties;
use crate::hooks::Condition;
use crate::topic;

/// Topics of the broker's own words to one client.
pub(crate) const OWN_TOPICS: &str = "$distkv/";
/// Where the end of a replay is told.
pub(super) const REPLAY_TOPIC: &str = "$distkv/replay/";
/// The longest name of a replay, in bytes.
const NAME_MAX: usize = 256;

/// Is this the name of a property for the broker or from it?
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with("distkv-")
}

/// Reads the condition of a PUBLISH. An error is a sentence for its client.
pub(super) fn condition<'a>(user: &UserProperties<'a>) -> Result<Option<Condition<'a>>, &'static str> {
    let mut wanted = user.iter().filter(|(name, _)| *name == "distkv-if").map(|(_, value)| value);
    let Some(value) = wanted.next() else { return Ok(None) };
    if wanted.next().is_some() {
        return Err("distkv-if may be given once");
    }
    if value == "new" {
        return Ok(Some(Condition::New));
    }
    let version = value.rsplit_once(':').and_then(|(node, tick)| Some((node, tick.parse().ok()?)));
    match version {
        Some((node, tick)) if !node.is_empty() => Ok(Some(Condition::Version { node, tick })),
        _ => Err("distkv-if is NODE:TICK or new"),
    }
}

/// What a SUBSCRIBE asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// The name under which the end of the replay is told.
    pub(super) replay: Option<&'a str>,
    /// Where values come from.
    pub(super) provenance: bool,
}

/// Reads what a SUBSCRIBE asks for.
pub(super) fn asked<'a>(user: &UserProperties<'a>) -> Asked<'a> {
    let mut asked = Asked::default();
    for (name, value) in user.iter() {
        match name {
            "distkv-replay" if is_replay_name(value) => asked.replay = Some(value),
            "distkv-meta" => asked.provenance = value == "1",
            _ => {}
        }
    }
    asked
}

/// Can a replay have that name?
pub(super) fn is_replay_name(name: &str) -> bool {
    name.len() <= NAME_MAX && topic::check_name(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(pairs: &'a [(&'a str, &'a str)]) -> UserProperties<'a> {
        UserProperties::Pairs(pairs)
    }

    #[test]
    fn a_condition_is_a_version_or_new() {
        assert_eq!(condition(&of(&[("a", "b")])), Ok(None));
        assert_eq!(condition(&of(&[("distkv-if", "new")])), Ok(Some(Condition::New)));
        let version = Condition::Version { node: "n:1", tick: 7 };
        assert_eq!(condition(&of(&[("distkv-if", "n:1:7")])), Ok(Some(version)));
        for bad in ["", "n", ":7", "n:", "n:-1", "n:x"] {
            assert!(condition(&of(&[("distkv-if", bad)])).is_err(), "{bad}");
        }
        assert!(condition(&of(&[("distkv-if", "new"), ("distkv-if", "new")])).is_err());
    }

    #[test]
    fn a_subscribe_asks_for_a_marked_replay_and_for_provenance() {
        let both = of(&[("distkv-replay", "boot"), ("distkv-meta", "1"), ("x", "y")]);
        assert_eq!(asked(&both), Asked { replay: Some("boot"), provenance: true });
        assert_eq!(asked(&of(&[("distkv-replay", "a/#"), ("distkv-meta", "0")])), Asked::default());
    }
}
