//! What the service manager (systemd) is told. Without one, nothing happens.

use std::convert::Infallible;

use sd_notify::NotifyState;

/// Clients are served.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again. [`ready`] must follow.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        // systemd would take it for a failed reload.
        Err(error) => tracing::debug!("no reload is announced: {error}"),
    }
}

/// The program is about to leave.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Shows the watchdog that tasks are still run, twice as often as it asks for. Pending for ever where there is none.
pub(super) async fn watchdog() -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(limit / 2).await;
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager can't be told: {error}");
    }
}
