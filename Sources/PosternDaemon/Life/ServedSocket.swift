// The socket that a daemon serves: the one that systemd has opened for it, or one of its own making.

import Glibc
public import PosternMail
public import PosternSocket

/// A listening socket, and who looks after its file.
public struct ServedSocket: Sendable {
    /// Listening; whoever serves it closes it.
    public let descriptor: Int32
    /// Where it is bound, for people.
    public let place: String
    /// Its file, when we made it; systemd's stays.
    private let file: Endpoint?

    /// - Parameter endpoint: where to listen if systemd has opened nothing.
    /// - Parameter key: the endpoint's in the configuration, for the log.
    init(
        _ name: String, at endpoint: Endpoint, key: String, mode: UInt16, _ resources: DaemonResources
    ) throws(SocketError) {
        if let activated = resources.sockets.takeOne(name, log: resources.log) {
            activated.tell(in: resources.log, instead: endpoint, key: key)
            (descriptor, place, file) = (activated.descriptor, activated.place, nil)
        } else {
            descriptor = try Socket.listen(endpoint, mode: mode_t(mode)).release()
            (place, file) = ("\(endpoint)", endpoint)
        }
    }

    /// Whether systemd keeps the socket: who connects while no daemon runs waits for the next one.
    public var isKept: Bool { file == nil }

    /// Removes the file, if it is ours; to be called when nobody serves it any more.
    public func remove() { if let file { Socket.removeFile(of: file) } }
}

extension DaemonResources {
    /// The milter's socket.
    public func milterSocket(at endpoint: Endpoint, key: String, mode: UInt16) throws(SocketError) -> ServedSocket {
        try ServedSocket("milter", at: endpoint, key: key, mode: mode, self)
    }

    /// The policy service's socket.
    public func policySocket(at endpoint: Endpoint, key: String, mode: UInt16) throws(SocketError) -> ServedSocket {
        try ServedSocket("policy", at: endpoint, key: key, mode: mode, self)
    }
}
