//! Tests of the configuration as a whole; units and addresses have their own beside them.

use super::load::{flat, known_keys, listener_keys};
use super::*;

/// The sample file that users read.
const SAMPLE: &str = include_str!("../../configs/distkv.toml");

/// Where the part about listeners begins, which as a whole is no default.
const LISTENERS: &str = "#[[listener]]";

/// The text with its defaults (`#key = value`, no space after the hash) and sections uncommented.
fn uncommented(text: &str) -> String {
    let is_default = |line: &str| {
        line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase() || c == '[')
    };
    text.lines().map(|line| if is_default(line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

/// The sample with its defaults, up to the listeners.
fn sample_with_defaults() -> String {
    uncommented(SAMPLE.split(LISTENERS).next().unwrap())
}

/// The sample's listener, with all sections.
fn sample_listener() -> toml::Table {
    let (_, listener) = SAMPLE.split_once(LISTENERS).unwrap();
    let mut table: toml::Table = toml::from_str(&uncommented(&format!("{LISTENERS}{listener}"))).unwrap();
    let Some(toml::Value::Array(listeners)) = table.remove("listener") else { panic!("no listener") };
    assert!(table.is_empty() && listeners.len() == 1);
    listeners[0].as_table().unwrap().clone()
}

fn error(text: &str) -> String {
    Config::from_toml(text).unwrap_err().to_string()
}

fn set(key: &str, value: &str) -> Result<Config, ConfigError> {
    load(None, &[Override::flag(&format!("--set {key}"), key, value)])
}

#[test]
fn the_sample_file_shows_exactly_the_defaults() {
    assert_eq!(Config::from_toml(SAMPLE).unwrap(), Config::default(), "as delivered");
    assert_eq!(Config::from_toml(&sample_with_defaults()).unwrap(), Config::default(), "uncommented");
}

#[test]
fn the_sample_file_has_every_key() {
    let sample: toml::Table = toml::from_str(&sample_with_defaults()).unwrap();
    let keys: Vec<String> = flat(&sample).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, known_keys());
    assert!(keys.len() > 10);
}

#[test]
fn the_sample_files_listener_has_every_key_with_its_default() {
    let sample = sample_listener();
    let keys: Vec<String> = flat(&sample).into_iter().map(|(key, _)| format!("listener.{key}")).collect();
    assert_eq!(keys, listener_keys());
    assert!(keys.len() > 25);
    let all = Listener { tls: Some(Tls::default()), proxy: Some(Proxy::default()), ..Listener::default() };
    assert_eq!(sample.try_into::<Listener>().unwrap(), all);
}

#[test]
fn every_example_of_the_documentation_works() {
    let text = include_str!("../../docs/listeners.md");
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 6);
    for example in examples {
        let config = Config::from_toml(example).unwrap_or_else(|error| panic!("{error} in\n{example}"));
        assert_eq!(config.check(), Ok(()), "{example}");
        assert!(!config.listener.is_empty(), "{example}");
    }
}

#[test]
fn with_listeners_plain_mqtt_is_only_where_it_is_told_to_be() {
    let listener = "[[listener]]\naddress = 1884\nallow_anonymous = true\n";
    let config = Config::from_toml(listener).unwrap();
    assert_eq!(config.listener[0].address, Place::Ip(Listen::Loopback(1884)));
    assert!(config.mqtt.listen.is_none());
    assert_eq!(config.check(), Ok(()));
    let config = Config::from_toml(&format!("[mqtt]\nlisten = \"localhost:1883\"\n{listener}")).unwrap();
    assert_eq!(config.mqtt.listen.to_string(), "localhost:1883");
    // Also outside of a file.
    let one = Override::flag("--set", "listener", "[{ address = \"1884\", allow_anonymous = true }]");
    let config = load(None, std::slice::from_ref(&one)).unwrap();
    assert!(config.listener.len() == 1 && config.mqtt.listen.is_none());
    let config = load(None, &[one, Override::flag("--mqtt", "mqtt.listen", "1883")]).unwrap();
    assert!(config.listener.len() == 1 && !config.mqtt.listen.is_none());
}

#[test]
fn a_wrong_key_of_a_listener_is_named_with_the_nearest_one() {
    let in_listener = |line: &str| error(&format!("[[listener]]\naddress = \"1884\"\n{line}\n"));
    assert_eq!(
        in_listener("adress = 1"),
        "line 3: unknown key `listener.adress`; did you mean `listener.address`?"
    );
    assert_eq!(
        in_listener("tls = { certficate = \"x\" }"),
        "line 3: unknown key `listener.tls.certficate`; did you mean `listener.tls.certificate`?"
    );
    assert_eq!(error("[listner]\n"), "line 1: unknown key `listner`; did you mean `listener`?");
    let text = in_listener("protocol = \"wss\"");
    assert!(text.starts_with("line 3: `listener.protocol`:") && text.contains("websocket"), "{text}");
    let text = in_listener("tls = { versions = [\"1.1\"] }");
    assert!(text.starts_with("line 3: `listener.tls.versions`:") && text.contains("1.2"), "{text}");
    let text = in_listener("mode = \"rw\"");
    assert!(text.starts_with("line 3: `listener.mode`: `rw` is no file mode"), "{text}");
}

#[test]
fn a_listener_that_can_not_work_is_refused_by_its_name() {
    let checked = |text: &str| {
        let config = Config::from_toml(text).unwrap();
        config.check().and_then(|()| config.check_users(false))
    };
    let check = |text: &str| match checked(text) {
        Err(Rule::Listener(name, rule)) => (name, rule),
        other => panic!("{other:?} for {text}"),
    };
    let open = |keys: &str| {
        check(&format!("[[listener]]\nname = \"x\"\naddress = \"1\"\nallow_anonymous = true\n{keys}\n"))
    };
    assert_eq!(check("[[listener]]"), ("number 1".to_owned(), ListenerRule::NoAddress));
    let closed = check("[[listener]]\naddress = \"*:8883\"\n");
    assert_eq!(closed, ("*:8883".to_owned(), ListenerRule::NobodyCanConnect));
    let two = "[[listener]]\nname = \"x\"\naddress = \"2\"\nallow_anonymous = true";
    assert_eq!(open(two), ("x".to_owned(), ListenerRule::NameTwice));
    for (keys, rule) in [
        ("versions = []", ListenerRule::NoVersion),
        ("mount_point = \"a/#\"", ListenerRule::MountPoint),
        ("mode = \"0600\"", ListenerRule::OtherSocket("mode", "Unix sockets")),
        ("websocket = { path = \"/mqtt\" }", ListenerRule::NotWebSocket),
        ("protocol = \"websocket\"\nwebsocket = { path = \"mqtt\" }", ListenerRule::WebSocketPath),
        ("backlog = 0", ListenerRule::Zero("backlog")),
        ("connection_burst = 1", ListenerRule::BurstWithoutRate),
        ("tls = {}", ListenerRule::NoFile("certificate", "a certificate")),
        (
            "tls = { certificate = \"c\", key = \"k\", user_from = \"cn\" }",
            ListenerRule::NoClientCertificates("user_from"),
        ),
        (
            "tls = { certificate = \"c\", key = \"k\", client_certificates = \"required\" }",
            ListenerRule::NoFile("client_ca", "a root for clients' certificates"),
        ),
        ("proxy = {}", ListenerRule::NoProxies),
        ("proxy = { from = [\"10.0.0.0/8\"], versions = [3] }", ListenerRule::ProxyVersions),
    ] {
        assert_eq!(open(keys), ("x".to_owned(), rule), "{keys}");
    }
    let named = "[[listener]]\naddress = \"*:8883\"\ntls = { certificate = \"c\", key = \"k\", \
        client_certificates = \"required\", client_ca = \"r\", user_from = \"cn\" }\n";
    assert_eq!(Config::from_toml(named).unwrap().check(), Ok(()));
}

#[test]
fn an_empty_file_is_the_default_configuration_and_passes_the_check() {
    assert_eq!(Config::from_toml("").unwrap(), Config::default());
    assert_eq!(Config::default().check(), Ok(()));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    assert_eq!(
        error("\n[mqtt]\nlisen = []\n"),
        "line 3: unknown key `mqtt.lisen`; did you mean `mqtt.listen`?"
    );
    assert_eq!(error("durabilty = 1"), "line 1: unknown key `durabilty`; did you mean `durability`?");
    assert_eq!(
        error("allow_anonymous = true"),
        "line 1: unknown key `allow_anonymous`; did you mean `mqtt.allow_anonymous`?"
    );
    assert_eq!(error("\n\n[mqt]\n"), "line 3: unknown key `mqt`; did you mean `mqtt`?");
    assert_eq!(
        error("zzzzzzzz = 1"),
        "line 1: unknown key `zzzzzzzz`; configs/distkv.toml describes every key"
    );
}

#[test]
fn a_wrong_value_is_named_with_its_line_and_key() {
    let text = error("[http]\n\nheader_timeout = \"10\"\n");
    assert!(text.starts_with("line 3: `http.header_timeout`: `10` is no length of time"), "{text}");
    let text = error("[mqtt]\nlisten = [\"localhost:1883\", \"localhost\"]");
    assert!(text.starts_with("line 2: `mqtt.listen`: `localhost` lacks a port"), "{text}");
    let text = error("durability = \"sometimes\"");
    assert!(text.starts_with("line 1: `durability`:"), "{text}");
    assert!(text.contains("always"), "{text}");
    let text = error("mqtt = 1");
    assert!(text.starts_with("line 1: `mqtt`:"), "{text}");
}

#[test]
fn what_is_not_toml_is_named_with_its_line() {
    for text in ["a = 1\nb c\n", "a = 1\n[mqtt\n", "a = 1\nb =\nc = 1", "a = 1\na = 2\n"] {
        let text = error(text);
        assert!(text.starts_with("line 2: this is not TOML:"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn later_sources_override_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("distkv.toml");
    std::fs::write(&file, "node = \"file\"\nsync_interval = \"1s\"\n[log]\nlevel = \"debug\"\n").unwrap();
    let env = [("DISTKV_NODE", "env"), ("DISTKV_LOG__LEVEL", "warn"), ("PATH", "/bin")];
    let mut overrides = Override::from_env(env.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter());
    overrides.push(Override::flag("--name", "node", "flag"));
    let config = load(Some(&file), &overrides).unwrap();
    assert_eq!(config.node, "flag");
    assert_eq!(config.log.level.to_string(), "warn");
    assert_eq!(config.sync_interval, Period::secs(1));
    assert_eq!(config.durability, Durability::Interval);
}

#[test]
fn the_environment_of_a_kubernetes_service_is_not_ours() {
    let names = ["DISTKV_PORT", "DISTKV_PORT_1883_TCP", "DISTKV_SERVICE_HOST", "DISTKV_CONFIG", "DISTKVX"];
    let found = Override::from_env(names.map(|name| (name.to_owned(), String::new())).into_iter());
    assert_eq!(found, []);
}

#[test]
fn overrides_take_each_type_with_and_without_quotes() {
    assert_eq!(set("node", "12").unwrap().node, "12");
    assert_eq!(set("node", r#""b""#).unwrap().node, "b");
    assert_eq!(set("node", r#"say "b""#).unwrap().node, r#"say "b""#);
    assert_eq!(set("mqtt.listen", "none").unwrap().mqtt.listen, ListenSet::default());
    assert_eq!(set("mqtt.listen", "1,[::1]:2").unwrap().mqtt.listen.to_string(), "localhost:1,[::1]:2");
    assert_eq!(set("mqtt.listen", r#"["1", "*:2"]"#).unwrap().mqtt.listen.to_string(), "localhost:1,*:2");
    assert!(set("mqtt.allow_anonymous", "true").unwrap().mqtt.allow_anonymous);
    assert_eq!(set("http.max_connections", "7").unwrap().http.max_connections, 7);
    assert_eq!(set("http.header_timeout", "5m").unwrap().http.header_timeout, Period::secs(300));
}

#[test]
fn a_wrong_override_is_named_by_where_it_was_given() {
    let text = set("mqtt.lisen", "1").unwrap_err().to_string();
    assert_eq!(text, "--set mqtt.lisen: unknown key `mqtt.lisen`; did you mean `mqtt.listen`?");
    let text = set("http.max_connections", "many").unwrap_err().to_string();
    assert!(text.starts_with("--set http.max_connections: `http.max_connections`: invalid type"), "{text}");
    for section in ["mqtt", "", ".", "mqtt.", "mqtt.listen.x"] {
        assert!(matches!(set(section, "1"), Err(ConfigError::UnknownKey { .. })), "{section:?}");
    }
    let env = Override::from_env(std::iter::once(("DISTKV_MQTT__PORT".to_owned(), "1".to_owned())));
    let text = load(None, &env).unwrap_err().to_string();
    assert!(text.starts_with("environment variable DISTKV_MQTT__PORT: unknown key `mqtt.port`"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Some("/nowhere/distkv.toml".as_ref()), &[]).unwrap_err().to_string();
    assert!(error.starts_with("can't read the config file /nowhere/distkv.toml: "), "{error}");
}

#[test]
fn listening_to_others_demands_users_or_allow_anonymous() {
    let open = set("mqtt.listen", "*:1883").unwrap();
    assert_eq!(open.check(), Ok(()));
    assert_eq!(open.check_users(false), Err(Rule::OpenToAll(Listen::Everywhere(1883))));
    assert_eq!(open.check_users(true), Ok(()));
    let meant = Config { mqtt: Mqtt { allow_anonymous: true, ..open.mqtt }, ..Config::default() };
    assert_eq!(meant.check_users(false), Ok(()));
}

#[test]
fn a_name_and_a_root_that_can_not_be_are_refused() {
    assert!(matches!(set("node", "a b").unwrap().check(), Err(Rule::Node(_))));
    assert_eq!(set("mqtt.root", "a:5").unwrap().check(), Err(Rule::RootElement));
    assert!(matches!(set("mqtt.root", "a..b").unwrap().check(), Err(Rule::Root(_))));
    assert_eq!(set("mqtt.root", "home.kitchen").unwrap().check(), Ok(()));
}

#[test]
fn faces_that_are_not_built_take_nothing_but_their_defaults() {
    for (key, value) in [
        ("cluster.listen", "*:27587"),
        ("cluster.join", "10.0.0.1:27587"),
        ("cluster.secret_file", "secret"),
        ("cluster.init", "true"),
    ] {
        let broken = set(key, value).unwrap().check();
        assert!(matches!(broken, Err(Rule::NotBuilt(named, _)) if named == key), "{key}: {broken:?}");
    }
}

#[test]
fn the_native_port_takes_sensible_values() {
    assert_eq!(set("native.listen", "none").unwrap().check(), Ok(()));
    assert_eq!(set("native.listen", "*:27586").unwrap().check(), Ok(()));
    assert_eq!(set("native.window", "3").unwrap().check(), Err(Rule::NativeWindow));
    assert_eq!(set("native.streams", "0").unwrap().check(), Err(Rule::Zero("native.streams")));
}

#[test]
fn a_reload_tells_what_is_taken_up_from_what_waits() {
    let old = Config::default();
    let new = Config { node: "b".to_owned(), ..set("log.level", "debug").unwrap() };
    let changes = old.changes(&new);
    let change = |key: &str, old: &str, new: &str| Change {
        key: key.to_owned(),
        old: format!("\"{old}\""),
        new: format!("\"{new}\""),
    };
    assert_eq!(changes.live, [change("log.level", "info", "debug")]);
    assert_eq!(changes.restart, [change("node", "", "b")]);
    let running = old.clone().with_live_values_of(&new);
    assert_eq!(running.changes(&new).live, []);
    assert_eq!(old.changes(&old), Changes::default());
}
