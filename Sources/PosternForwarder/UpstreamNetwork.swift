// How queries leave: datagrams on sockets of their own, streams that questions share. Tests have a network of theirs.

import NIOCore
import PosternDNS
import PosternMail

struct UpstreamNetwork {
    /// Makes the socket of a query's datagram, which leaves from one of the ports.
    var datagram: (UpstreamTry, ClosedRange<UInt16>, any EventLoop) -> any UpstreamSocket
    /// Opens the connection of a stream.
    var dial: UpstreamStream.Dial

    /// The kernel's.
    static var kernel: UpstreamNetwork {
        UpstreamNetwork(
            datagram: { NetworkSocket($0, sourcePorts: $1, on: $2) },
            dial: { NetworkStream(to: $0, for: $1, timeout: $2, on: $3) })
    }
}
