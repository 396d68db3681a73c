//! Users of the store by MQTT and HTTP: logins, rights, live changes, roots. The server's parts run in the test's process, so that the test can
//! change users as an administrator would, in the store itself.

mod http;
mod live;
mod logins;
mod rights;
mod roots;
mod scene;
mod walk;
