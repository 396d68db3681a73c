//! Topics and paths: which path a topic stands for, which pattern a filter, and back.
//!
//! Topic `a/b/c` is the path `a.b.c` below the mount; every level is a string, empty levels included. Three things are
//! out of sight of clients: entries whose path has an element that is no string, internal data (below the null element
//! and below `.distkv`), and string paths whose first element begins with `$`. A topic that begins with `$` is kept in
//! internal data, where no wildcard of another topic reaches it [MQTT-4.7.2-1].

use distkv_broker::topic;
use distkv_store::path::{Element, Path, PathBuilder, PathError, PathRef, Pattern};

/// The name below the null element under which topics that begin with `$` are kept.
const DOLLAR_HOME: &str = "mqtt";
/// The original's name for data of its own, a string at the root.
const OWN_DATA: &str = ".distkv";

/// Why a topic or filter has no place in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    /// The topic names internal data.
    #[error("the topic names the store's internal data")]
    Internal,
    /// The path would break a limit.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The mapping under one mount.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    mount: Path,
    dollar: Path,
    own: Path,
}

impl Mapping {
    /// Topics live below `mount`, which is the root by default. Its elements must be strings.
    pub(super) fn new(mount: Path) -> Result<Self, PathError> {
        let dollar = Path::from_elements([Element::Null, Element::Str(DOLLAR_HOME.into())])?;
        Ok(Self { mount, dollar, own: Path::from_strs([OWN_DATA])? })
    }

    /// The path of a valid topic name, built in `builder`.
    pub(super) fn path<'b>(&self, topic: &str, builder: &'b mut PathBuilder) -> Result<PathRef<'b>, NoPlace> {
        builder.restart(self.home(topic));
        builder.push_split(topic, '/')?;
        let path = builder.as_path();
        if path.starts_with(self.own.as_path()) {
            return Err(NoPlace::Internal);
        }
        Ok(path)
    }

    /// The topic of a path, appended to the empty `topic`. `false` if no topic stands for it.
    pub(super) fn topic(&self, path: PathRef<'_>, topic: &mut String) -> bool {
        if let Some(below) = path.below(self.dollar.as_path()) {
            return is_topic(below, topic) && topic.starts_with('$');
        }
        if path.is_internal() || path.starts_with(self.own.as_path()) {
            return false;
        }
        match path.below(self.mount.as_path()) {
            Some(below) if !below.is_root() => is_topic(below, topic) && !topic.starts_with('$'),
            _ => false,
        }
    }

    /// The pattern of all paths whose topics match a valid filter.
    pub(super) fn pattern(&self, filter: &str) -> Result<Pattern, PathError> {
        let mut pattern = Pattern::exactly(self.home(filter))?;
        for level in filter.split('/') {
            match level {
                "+" => pattern.push_one()?,
                "#" => pattern.push_many()?,
                name => pattern.push_str(name)?,
            }
        }
        if filter != "#" {
            // `a/#` matches `a` [MQTT-4.7.1-2], but nothing stands above the first level.
            pattern.tail_may_be_empty();
        }
        if !filter.starts_with('$') {
            pattern.strings_only().hide_names(self.mount.as_path(), "$").hide(self.own.as_path());
        }
        Ok(pattern)
    }

    /// What the topics begin with which a user sees who has `root` as the whole: nothing, or levels and a `/` behind them. `None`: no topic
    /// lies there.
    pub(super) fn prefix(&self, root: PathRef<'_>) -> Option<String> {
        if root.is_root() || self.mount.as_path().starts_with(root) {
            return Some(String::new());
        }
        let mut prefix = String::new();
        let is_topic = self.topic(root, &mut prefix) && topic::check_name(&prefix).is_ok();
        prefix.push('/');
        is_topic.then_some(prefix)
    }

    fn home(&self, topic: &str) -> PathRef<'_> {
        if topic.starts_with('$') { self.dollar.as_path() } else { self.mount.as_path() }
    }
}

/// Appends the elements as levels. `false`: one of them can't be one, as it is no string, or has a character in it that would make it another
/// topic, or none.
fn is_topic(path: PathRef<'_>, topic: &mut String) -> bool {
    path.join_strs('/', topic) && topic::levels(topic) == path.len() && topic::check_name(topic).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(mount: &str) -> Mapping {
        Mapping::new(mount.parse().unwrap()).unwrap()
    }

    fn there_and_back(mapping: &Mapping, topic: &str) -> Path {
        let mut builder = PathBuilder::new();
        let path = mapping.path(topic, &mut builder).unwrap().to_path();
        let mut back = String::new();
        assert!(mapping.topic(path.as_path(), &mut back), "{topic} has no way back from {path}");
        assert_eq!(back, topic);
        path
    }

    #[test]
    fn a_topic_is_its_levels_as_strings_below_the_mount() {
        assert_eq!(there_and_back(&mapping(":"), "a/b c/1").to_string(), "a.b:_c.1");
        assert_eq!(there_and_back(&mapping("home.mqtt"), "a/b").to_string(), "home.mqtt.a.b");
        for topic in ["/", "//", "a//b", "/a", "a/", "küche/état", "a.b:c"] {
            there_and_back(&mapping(":"), topic);
            there_and_back(&mapping("x"), topic);
        }
    }

    #[test]
    fn a_root_is_a_prefix_of_topics_if_it_can_be_one() {
        let prefix = |mount: &str, root: &str| {
            let root: Path = root.parse().unwrap();
            mapping(mount).prefix(root.as_path())
        };
        assert_eq!(prefix(":", "tenants.a").as_deref(), Some("tenants/a/"));
        assert_eq!(prefix("home.mqtt", "home.mqtt.a").as_deref(), Some("a/"));
        for root in [":", "home", "home.mqtt"] {
            assert_eq!(prefix("home.mqtt", root).as_deref(), Some(""), "{root}");
        }
        for none in ["homes", "home.other", "home.mqtt:1", "home.mqtt.+", "home.mqtt.$x"] {
            assert_eq!(prefix("home.mqtt", none), None, "{none}");
        }
    }

    #[test]
    fn topics_with_a_dollar_live_in_internal_data() {
        for mount in [":", "x"] {
            let path = there_and_back(&mapping(mount), "$bridge/state");
            assert!(path.as_path().is_internal());
        }
    }

    #[test]
    fn internal_data_has_no_topic_and_no_topic_reaches_it() {
        let mapping = mapping(":");
        let refused = mapping.path(".distkv/x", &mut PathBuilder::new()).map(PathRef::to_path);
        assert_eq!(refused, Err(NoPlace::Internal));
        for path in [":n.auth", ":.distkv.x", ":1.a", "a:t", "$sneaky.a", ":", "a/b", "a.b/", "a.+", "#"] {
            let path: Path = path.parse().unwrap();
            assert!(!mapping.topic(path.as_path(), &mut String::new()), "{path}");
        }
    }

    #[test]
    fn filters_match_what_their_topics_are_and_nothing_else() {
        let mapping = mapping(":");
        let matches = |filter: &str, path: &str| {
            let path: Path = path.parse().unwrap();
            mapping.pattern(filter).unwrap().matches(path.as_path())
        };
        assert!(matches("#", "a") && matches("#", "a.b.c") && matches("a/#", "a") && matches("a/#", "a.b.c"));
        assert!(
            matches("+", "a") && matches("a/+", "a.b") && matches("a/+/c", "a.b.c") && matches("a/b", "a.b")
        );
        assert!(!matches("+", "a.b") && !matches("a/+", "a") && !matches("a/b/#", "a"));
        for hidden in [":", ":n.mqtt.$x", ":.distkv.x", "$x.a", "a:1", ":1"] {
            assert!(!matches("#", hidden) && !matches("+/#", hidden), "{hidden}");
        }
        assert!(matches("$x/#", ":n.mqtt.$x.a") && !matches("$x/#", "$x.a"));
    }
}
