//! The socket of an endpoint.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// A socket from that address that dials others, by either version of the protocol if the address is one for any.
pub(super) fn dialing(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address)?;
    if address.is_ipv6() {
        // Where the system cannot have one socket for both, it is for the one that was asked for.
        socket.set_only_v6(false).ok();
    }
    bound(socket, address)
}

/// A socket that is dialed at that address, and at nothing that the system does not mean by it.
pub(super) fn listening(address: SocketAddr) -> io::Result<UdpSocket> {
    bound(open(address)?, address)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The system grants what it allows (on Linux `net.core.rmem_max` and `wmem_max`); with less, links are as right and lose more.
    socket.set_recv_buffer_size(BUFFER_BYTES).ok();
    socket.set_send_buffer_size(BUFFER_BYTES).ok();
    Ok(socket)
}

fn bound(socket: Socket, address: SocketAddr) -> io::Result<UdpSocket> {
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What may lie in a socket, each way. The usual 208 KB hold some 150 datagrams: a few milliseconds in which the endpoint's task has no processor lose some
/// of a feed at full speed, and whoever waits for these waits for a probe. This is some ten milliseconds of what a link can bring.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_takes_in_no_less_than_it_would_unasked_and_more_where_the_system_allows_it() {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let size = |socket: UdpSocket| Socket::from(socket).recv_buffer_size().unwrap();
        let unasked = size(UdpSocket::bind(local).unwrap());
        // A machine may not tell, and then it is not known how much it allows.
        let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
        let most = most.trim().parse::<usize>().unwrap_or_default();
        for socket in [dialing(local), listening(local)] {
            // The system keeps as much again for itself.
            assert!(size(socket.unwrap()) >= unasked.max(2 * most.min(BUFFER_BYTES)));
        }
    }
}
