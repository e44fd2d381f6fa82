//! TCP listeners: accepts within limits, never spins when descriptors run out.

use crate::smtp::{Peer, serve};
use crate::{Receive, client};
use mail::Status;
use mail::log::{Event, Outcome};
use mail::reply::Reply;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Accepts clients on one listener until the task is ended. `seats` counts the sessions of all listeners.
pub async fn listen(receive: Arc<Receive>, listener: TcpListener, name: String, seats: Arc<Semaphore>) {
    let mut complained = false;
    loop {
        // Taking the seat first leaves further clients in the kernel's backlog instead of refusing them.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, client)) => {
                complained = false;
                let (receive, name) = (Arc::clone(&receive), name.clone());
                tokio::spawn(async move {
                    session(receive, stream, client, name).await;
                    drop(seat);
                });
            }
            Err(error) => {
                if !complained {
                    complained = true;
                    receive.remark(None, format!("{name}: accept failed: {error}; waiting"));
                }
                // EMFILE and its kin stay until somebody closes something: wait, with 100 % CPU nobody is served.
                if !per_connection(&error) {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

/// Errors of a connection that died before it was accepted: the next one may be fine.
fn per_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn session(receive: Arc<Receive>, mut stream: TcpStream, client: SocketAddr, listener: String) {
    let _nodelay = stream.set_nodelay(true);
    let ip = client.ip().to_canonical();
    let Some(seat) = receive.enter(ip) else {
        let reply = Reply::new(421, Some(Status::temporary(3, 2)), "Too many open connections.");
        let text = format!(
            "ruleset=check_relay, arg1=[{shown}], arg2={shown}, relay=[{shown}], reject=421 4.3.2 Too many open connections.",
            shown = crate::smtp::in_full(ip)
        );
        let id = receive.store.new_id(receive.clock.now());
        receive.decided(Some(id), Outcome::Disconnected, text, &"limits: sessions-per-client");
        let _gone = tokio::time::timeout(Duration::from_secs(5), stream.write_all(&reply.to_wire())).await;
        return;
    };
    let (name, resolved) = client::name(&*receive.resolver, ip).await;
    let peer = Peer { ip, name, resolved, listener };
    receive.log.write(&Event::Connected { outgoing: false, relay: peer.text() });
    serve(Arc::clone(&receive), stream, peer).await;
    drop(seat);
}
