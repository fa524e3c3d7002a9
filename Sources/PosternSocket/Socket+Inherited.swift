// What a socket is that somebody else has opened for us (systemd's socket activation), and who is at its other end.

public import Glibc
public import PosternMail

/// What a descriptor that was passed to us turned out to be.
public struct InheritedSocket: Hashable, Sendable {
    /// Where it is bound; nil for an abstract or unnamed address, or a family that we do not serve.
    public let endpoint: Endpoint?
    /// A stream socket on which listen(2) was called.
    public let isListening: Bool
}

extension Socket {
    /// Looks at a descriptor; nil when it is no open socket.
    public static func inspect(_ descriptor: Int32) -> InheritedSocket? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0, let type = option(SO_TYPE, of: descriptor) else { return nil }
        let isStream = type == Int32(SOCK_STREAM.rawValue)
        let isListening = isStream && option(SO_ACCEPTCONN, of: descriptor) == 1
        return InheritedSocket(endpoint: endpoint(storage, Int(length), isStream), isListening: isListening)
    }

    /// Makes an inherited descriptor like those that we open: closed over exec, and never blocking in accept(2).
    public static func adopt(_ descriptor: Int32) throws(SocketError) {
        let flags = fcntl(descriptor, F_GETFL)
        guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0,
            fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0
        else { throw .last("fcntl") }
    }

    /// The user at the other end of a UNIX stream when it was connected. Source: unix(7), SO_PEERCRED.
    public func peerUser() throws(SocketError) -> uid_t {
        // struct ucred {pid, uid, gid}; Glibc hides it without _GNU_SOURCE.
        var credentials: (pid: Int32, uid: UInt32, gid: UInt32) = (0, .max, .max)
        var length = socklen_t(MemoryLayout.size(ofValue: credentials))
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0,
            Int(length) == MemoryLayout.size(ofValue: credentials)
        else { throw .last("getsockopt SO_PEERCRED") }
        return credentials.uid
    }

    private static func option(_ name: Int32, of descriptor: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
    }

    private static func endpoint(_ storage: sockaddr_storage, _ length: Int, _ isStream: Bool) -> Endpoint? {
        withUnsafeBytes(of: storage) { octets in
            func internet(_ address: IPAddress?, _ port: UInt16) -> Endpoint? {
                guard let address else { return nil }
                let (host, port) = ("\(address)", UInt16(bigEndian: port))
                return isStream ? .tcp(host: host, port: port) : .udp(host: host, port: port)
            }
            switch Int32(storage.ss_family) {
            case AF_UNIX:
                let path = octets.prefix(length).dropFirst(MemoryLayout<sa_family_t>.size).prefix { $0 != 0 }
                return path.isEmpty ? nil : .unix(path: String(decoding: path, as: UTF8.self))
            case AF_INET:
                let address = octets.load(as: sockaddr_in.self)
                return internet(.v4(UInt32(bigEndian: address.sin_addr.s_addr)), address.sin_port)
            case AF_INET6:
                let address = octets.load(as: sockaddr_in6.self)
                let ip = withUnsafeBytes(of: address.sin6_addr) { IPAddress(octets: [UInt8]($0)) }
                return internet(ip, address.sin6_port)
            default: return nil
            }
        }
    }
}
