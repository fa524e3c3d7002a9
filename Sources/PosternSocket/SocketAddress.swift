// Endpoints as the kernel wants them. Names are not resolved here: an address or `localhost`, nothing else.

public import Glibc
public import PosternMail

/// A `sockaddr` of any family with its length.
public struct SocketAddress {
    private var storage = sockaddr_storage()
    private var length: socklen_t = 0

    public var family: Int32 { Int32(storage.ss_family) }

    init(_ endpoint: Endpoint) throws(SocketError) {
        switch endpoint {
        case .unix(let path): try self.init(path: path)
        case .tcp(let host, let port), .udp(let host, let port): try self.init(host: host, port: port)
        }
    }

    /// A UNIX socket's address; if `abstract` allows it, `@` begins a name in Linux's abstract namespace.
    /// Source: unix(7).
    public init(path: String, abstract: Bool = false) throws(SocketError) {
        var octets = Array(path.utf8)
        guard !octets.isEmpty, octets.count <= Endpoint.maxPathOctets, !octets.contains(0) else {
            throw .pathTooLong(path)
        }
        let isAbstract = abstract && octets.first == 0x40
        if isAbstract { octets[0] = 0 }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: octets) }  // one octet less than it holds
        // A path ends with a NUL that counts; an abstract name is exactly as long as it says.
        let header = MemoryLayout<sockaddr_un>.size - MemoryLayout.size(ofValue: address.sun_path)
        set(address, length: header + octets.count + (isAbstract ? 0 : 1))
    }

    init(host: String, port: UInt16) throws(SocketError) {
        guard let ip = host == "localhost" ? .v4(0x7F00_0001) : IPAddress(host) else { throw .badHost(host) }
        self.init(ip, port: port)
    }

    public init(_ ip: IPAddress, port: UInt16) {
        switch ip {
        case .v4(let bits):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = bits.bigEndian
            set(address, length: MemoryLayout<sockaddr_in>.size)
        case .v6:
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: ip.octets) }
            set(address, length: MemoryLayout<sockaddr_in6>.size)
        }
    }

    private mutating func set<Address>(_ address: Address, length: Int) {
        withUnsafeMutableBytes(of: &storage) { target in
            withUnsafeBytes(of: address) { target.copyMemory(from: $0) }  // sockaddr_storage holds every sockaddr
        }
        self.length = socklen_t(length)
    }

    /// Lends the address to a system call.
    public func withBorrowed<Result>(_ call: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, length) }
        }
    }
}
