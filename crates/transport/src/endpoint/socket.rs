//! The socket of an endpoint.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// A socket at that address, which takes in as much as a moment brings.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Where the system cannot have one socket for both, it is for the one that was asked for.
        socket.set_only_v6(false).ok();
    }
    // The system grants what it allows, and a system that allows none goes on with what it has.
    socket.set_recv_buffer_size(BUFFER_BYTES).ok();
    socket.set_send_buffer_size(BUFFER_BYTES).ok();
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What may lie in a socket, each way. The usual 208 KB hold some 150 datagrams: a few milliseconds in which the endpoint's task has no processor lose some
/// of a feed at full speed, and whoever waits for these waits for a probe. More than a link may have under way is never needed at once.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_takes_in_more_than_it_would_unasked_where_the_system_allows_it() {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let size = |socket: UdpSocket| Socket::from(socket).recv_buffer_size().unwrap();
        let (ours, unasked) = (size(bind(local).unwrap()), size(UdpSocket::bind(local).unwrap()));
        let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse::<usize>().unwrap();
        // The system keeps as much again for itself.
        assert_eq!(ours, 2 * most.min(BUFFER_BYTES));
        assert!(ours >= unasked || most < unasked);
    }

    #[test]
    fn a_socket_for_any_address_is_for_both_versions() {
        let any = bind("[::]:0".parse().unwrap()).unwrap();
        assert!(!Socket::from(any).only_v6().unwrap());
    }
}
