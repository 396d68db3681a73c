//! A store with users, and a broker and an HTTP face over it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use distkv::auth::checks::Bounds;
use distkv::auth::digest::Digest;
use distkv::auth::logins::{Logins, Rules};
use distkv::auth::password::{Cost, Hashed};
use distkv::auth::secrets;
use distkv::bridge::Bridge;
use distkv::http::{self, Face};
use distkv_broker::limits::Limits;
use distkv_broker::{Broker, Listener, ListenerConfig};
use distkv_store::access::{home, users};
use distkv_store::meta::Meta;
use distkv_store::path::{Element, Path};
use distkv_store::store::{Durability, Options, Store};
use distkv_store::ticks::NodeName;
use distkv_store::value::{Packer, Value};
use distkv_store::view::{View, Who};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::harness::client::{Client, Next};
use crate::harness::clock::SOON;
use crate::harness::packet::{Connect, Packet, Publish};

const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

/// See the module. The password of each user is his name with `!` behind it.
pub(super) struct Scene {
    pub(super) broker: Arc<Broker>,
    pub(super) logins: Arc<Logins>,
    pub(super) mqtt: SocketAddr,
    pub(super) http: SocketAddr,
    /// What the program itself may do.
    pub(super) view: View,
    runtime: Runtime,
    _directory: TempDir,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.runtime.block_on(self.broker.shutdown(Duration::from_millis(100)));
    }
}

impl Scene {
    /// With a user `root` who may do everything, and logins on.
    pub(super) fn start() -> Self {
        let scene = Self::open();
        scene.user("root", None, None);
        scene.method(Some("password"));
        scene
    }

    /// Without users.
    pub(super) fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options =
            Options { durability: Durability::Memory, ..Options::new(NodeName::new("lab").unwrap()) };
        let (store, _report) = Store::open(directory.path(), options, &mut |_| {}).unwrap();
        let rules = Rules {
            bounds: Bounds { cost: CHEAP, parallel: 1, queue: 100_000 },
            anonymous_acl: "anonymous".into(),
            allow_test: false,
        };
        let logins = Arc::new(Logins::new(store.clone(), rules, None).unwrap());
        let bridge = Bridge::new(store.clone(), Path::root(), Arc::clone(&logins)).unwrap();
        let limits = Limits { sys_interval: Duration::from_millis(50), ..Limits::default() };
        let hooks = Arc::new(bridge.clone());
        let broker = Arc::new(Broker::new(limits, hooks.clone(), hooks));
        bridge.attach(&broker);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (mqtt, http) = runtime.block_on(async {
            broker.start();
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mqtt = socket.local_addr().unwrap();
            let listener = Listener { allow_anonymous: false, ..Listener::default() };
            broker.listen_on(
                socket,
                ListenerConfig { listener: Arc::new(listener), ..ListenerConfig::default() },
            );
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let http = socket.local_addr().unwrap();
            let face = Arc::new(Face::default());
            face.show_clients(Arc::clone(&broker), bridge.clone(), Arc::clone(&logins));
            tokio::runtime::Handle::current().spawn(http::serve(socket, face, http::Bounds::new(64, SOON)));
            tokio::runtime::Handle::current().spawn(bridge.watch_users(Arc::clone(&broker)));
            (mqtt, http)
        });
        let view = store.view(Who::system());
        Self { broker, logins, mqtt, http, view, runtime, _directory: directory }
    }

    /// One more way in, for those without a name, too.
    pub(super) fn listen_to_all(&self) -> SocketAddr {
        self.runtime.block_on(async {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            self.broker.listen_on(socket, ListenerConfig::default());
            address
        })
    }

    pub(super) fn set(&self, path: &Path, value: Value) {
        self.view.set(path.as_path(), value, Meta::default(), None).unwrap();
    }

    pub(super) fn remove(&self, path: &Path) {
        self.view.delete(path.as_path(), Meta::default(), None).unwrap();
    }

    /// Puts a method in force, or none.
    pub(super) fn method(&self, method: Option<&str>) {
        let path = users::method_path(home(Path::root().as_path()).unwrap().as_path()).unwrap();
        match method {
            Some(method) => self.set(&path, users::current(method)),
            None => self.remove(&path),
        }
    }

    pub(super) fn path_of(name: &str) -> Path {
        users::path(home(Path::root().as_path()).unwrap().as_path(), "password", name).unwrap()
    }

    /// Makes or changes a user.
    pub(super) fn user(&self, name: &str, acl: Option<&str>, root: Option<&str>) {
        let root: Option<Path> = root.map(|root| root.parse().unwrap());
        let record = users::record(&[], false, root.as_ref().map(Path::as_path));
        self.set(
            &Self::path_of(name),
            secrets::with_password(&record, &hashed(&format!("{name}!")), None).unwrap(),
        );
        let bound = Self::path_of(name).as_path().child(&Element::str("acl")).unwrap();
        match acl {
            Some(acl) => self.set(&bound, users::key(acl)),
            None => self.remove(&bound),
        }
    }

    /// Sets a rule of an access list.
    pub(super) fn rule(&self, acl: &str, pattern: &str, letters: &str) {
        let pattern: Path = pattern.parse().unwrap();
        let path = users::rule_path(home(Path::root().as_path()).unwrap().as_path(), acl, pattern.as_path())
            .unwrap();
        self.set(&path, Value::string(letters));
    }

    pub(super) fn hashes(&self) -> u64 {
        self.logins.checks().counters().hashed.load(Ordering::Relaxed)
    }

    /// A client who has logged in as `user`.
    pub(super) fn connect(&self, id: &str, user: &str) -> Client {
        Client::connect(self.mqtt, &as_user(id, user))
    }

    /// What CONNACK says.
    #[track_caller]
    pub(super) fn code(&self, address: SocketAddr, connect: &Connect) -> u8 {
        let mut client = Client::open(address);
        client.send(&connect.encode());
        match client.next(SOON) {
            Next::Packet(Packet::Connack { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn request(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

pub(super) fn as_user(id: &str, user: &str) -> Connect {
    Connect { user: Some((user.to_owned(), format!("{user}!"))), ..Connect::new(id) }
}

pub(super) fn hashed(password: &str) -> Hashed {
    Hashed::make(&Digest::of(password.as_bytes()), b"0123456789abcdef", CHEAP).unwrap()
}

/// A record as the original has it.
pub(super) fn imported(password: &str) -> Value {
    let mut bytes = Vec::new();
    let mut packer = Packer(&mut bytes);
    packer.map(1);
    packer.str("password");
    packer.bin(Digest::of(password.as_bytes()).as_bytes());
    Value::from_msgpack(&bytes).unwrap()
}

/// Publishes at QoS 1 and waits for the acknowledgement, which MQTT 3 gives in any case.
pub(super) fn publish(client: &mut Client, topic: &str, payload: &str, retain: bool) {
    let id = client.id();
    let message = Publish::new(topic, payload).qos(1, id);
    client.send(&if retain { message.retain() } else { message }.encode());
    client.expect(Packet::Puback(id));
}
