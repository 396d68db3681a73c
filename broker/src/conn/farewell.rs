//! The last word to a client of MQTT 5: a DISCONNECT that says why [MQTT 5: 3.14, 4.13].

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::end::End;
use crate::codec::{Disconnect, ProtocolVersion};
use crate::limits::Redirect;
use crate::transport::Transport;

/// How long the client may take to read it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The DISCONNECT for that end; `None` if there is nothing to say, or nobody to say it to.
pub(super) fn words(
    end: &End,
    version: ProtocolVersion,
    manner: &super::handshake::Manner,
    redirect: Option<&Redirect>,
) -> Option<Vec<u8>> {
    let reason = end.reason().filter(|_| version == ProtocolVersion::V5)?;
    // Another server is named together with the reason for it [MQTT 5: 4.13].
    let reason = redirect.map_or(reason, Redirect::reason);
    let text = end.to_string();
    let full = Disconnect {
        reason_string: manner.problem_information.then_some(&*text),
        server_reference: redirect.map(|redirect| &*redirect.to),
        ..Disconnect::new(reason)
    };
    let fits = |packet: &Vec<u8>| manner.maximum_packet.is_none_or(|max| packet.len() <= max as usize);
    [full, Disconnect::new(reason)].into_iter().find_map(|disconnect| {
        let mut packet = Vec::new();
        disconnect.encode(&mut packet, version).ok()?;
        fits(&packet).then_some(packet)
    })
}

/// Sends it and closes.
pub(super) async fn say<T: Transport>(socket: &mut T, packet: &[u8]) {
    let said = async {
        socket.write_all(packet).await?;
        socket.shutdown().await
    };
    // Whoever does not read it does not want to know.
    let _ = tokio::time::timeout(PATIENCE, said).await;
}
