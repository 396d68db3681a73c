//! Why may a user do something, or why not: the answer to `distkv acl why`.

use std::str::FromStr;

use distkv_broker::hooks::{Action, Permission, Rights as _};
use distkv_broker::topic;
use distkv_store::access::Right;
use distkv_store::path::Path;
use distkv_store::view::Who;

use super::Bridge;
use super::rights::Limits;

/// With what something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An MQTT topic or filter, as the user sees it.
    Topic(String),
    /// A path of the store, as the user sees it.
    Path(Path),
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Something by MQTT, with a topic.
    Mqtt(Action),
    /// What needs a right, with a path (or a topic's path).
    Right(Right),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Is it allowed?
    pub allowed: bool,
    /// By which rule.
    pub reason: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// There is no such user.
    #[error("there is no user `{0}` of the method in force")]
    NoUser(String),
    /// A topic that is none.
    #[error("`{0}` is no topic (or no filter, for `subscribe`)")]
    NoTopic(String),
    /// A right is of paths, and what is done by MQTT of topics.
    #[error("that is done with a topic, not with a path")]
    NeedsTopic,
    /// His root is no place of topics.
    #[error("the user's root is no place of topics, so he can't use MQTT")]
    NoMqtt,
    /// A deed that is none.
    #[error(
        "`{0}` is no action: it is publish, retain, clear, subscribe or receive, of a topic; or one of the letters rwdcxena or \
         read, write, delete, create, pass, list, new, ask"
    )]
    NoDeed(String),
}

impl FromStr for Deed {
    type Err = NoAnswer;

    fn from_str(text: &str) -> Result<Self, NoAnswer> {
        Ok(match text {
            "publish" => Self::Mqtt(Action::Publish { retain: false, empty: false }),
            "retain" => Self::Mqtt(Action::Publish { retain: true, empty: false }),
            "clear" => Self::Mqtt(Action::Publish { retain: true, empty: true }),
            "subscribe" => Self::Mqtt(Action::Subscribe),
            "receive" => Self::Mqtt(Action::Receive),
            "new" => Self::Right(Right::New),
            "ask" => Self::Right(Right::Ask),
            _ => {
                let mut letters = text.chars();
                let letter = letters.next().filter(|_| letters.next().is_none()).and_then(Right::from_letter);
                let verb = || Right::ALL.into_iter().find(|right| right.verb() == text);
                Self::Right(letter.or_else(verb).ok_or_else(|| NoAnswer::NoDeed(text.to_owned()))?)
            }
        })
    }
}

impl Bridge {
    /// May the user do that, as things stand? A user without a name is `None`.
    ///
    /// # Errors
    /// The question makes no sense.
    pub fn why(
        &self,
        user: Option<&str>,
        client: Option<&str>,
        target: &Target,
        deed: Deed,
    ) -> Result<Why, NoAnswer> {
        let shared = &self.shared;
        let logins = &shared.logins;
        let who = match user {
            _ if !logins.are_on() => {
                let reason = "nobody has to log in, so everybody may do everything".to_owned();
                return Ok(Why { allowed: true, reason });
            }
            None => logins.anonymous(),
            Some(name) => Who::login(logins.find(name).ok_or_else(|| NoAnswer::NoUser(name.to_owned()))?),
        };
        let who = client.map_or_else(|| who.clone(), |client| who.clone().with_client(client.into()));
        match (target, deed) {
            (Target::Path(path), Deed::Right(right)) => {
                let verdict = shared.store.view(who).why(path.as_path(), right);
                Ok(Why { allowed: verdict.allowed, reason: verdict.reason })
            }
            (Target::Path(_), Deed::Mqtt(_)) => Err(NoAnswer::NeedsTopic),
            (Target::Topic(topic), deed) => self.why_topic(who, topic, deed),
        }
    }

    fn why_topic(&self, who: Who, said: &str, deed: Deed) -> Result<Why, NoAnswer> {
        let shared = &self.shared;
        let view = shared.store.view(who.absolute());
        let mount = shared.mapping.prefix(view.root().as_path()).ok_or(NoAnswer::NoMqtt)?;
        let checked = match deed {
            Deed::Mqtt(Action::Subscribe) => topic::check_filter(said).is_ok(),
            _ => topic::check_name(said).is_ok(),
        };
        if !checked {
            return Err(NoAnswer::NoTopic(said.to_owned()));
        }
        let topic = topic::mounted(Some(mount.as_str()), said);
        // A shared subscription is one of its filter.
        let topic = topic::share(&topic).ok().flatten().map_or(&*topic, |share| share.filter);
        let limits = Limits::new(shared.mapping.clone(), view.clone());
        Ok(match deed {
            Deed::Right(right) => limits.why_right(topic, right),
            Deed::Mqtt(action) => {
                let allowed = match action {
                    Action::Publish { retain, empty } => {
                        limits.publish(topic, retain, empty) != Permission::Denied
                    }
                    Action::Subscribe => limits.subscribe(topic),
                    Action::Receive => limits.receive(topic),
                };
                Why { allowed, reason: limits.why(action, topic) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_has_a_name_or_a_letter() {
        for right in Right::ALL {
            assert_eq!(right.letter().to_string().parse(), Ok(Deed::Right(right)));
        }
        assert_eq!("read".parse(), Ok(Deed::Right(Right::Read)));
        assert_eq!("new".parse(), Ok(Deed::Right(Right::New)));
        assert_eq!("subscribe".parse(), Ok(Deed::Mqtt(Action::Subscribe)));
        for none in ["", "q", "rw", "Read"] {
            assert!(none.parse::<Deed>().is_err(), "{none}");
        }
    }
}
