// Where a server of a shared store is: looked up by the keeper's thread alone, since getaddrinfo(3) takes as long as it
// likes, and no decision has that long. What was found is used until the store fails; then it is looked up again.

internal import Glibc
internal import PosternAdmission

struct StoreAddress: Hashable, Sendable {
    let family: Int32
    /// A socket address as bind(2) and connect(2) take it.
    let octets: [UInt8]

    /// Most addresses of one name that are tried.
    static let maxAddresses = 8

    /// Blocks for as long as the system's resolver does.
    static func of(_ server: StoreURL.Server) throws(StoreFailure) -> [StoreAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(server.host, "\(server.port)", &hints, &list)
        guard code == 0 else {
            throw .unreachable("\(server.host) has no address (\(String(cString: gai_strerror(code))))")
        }
        defer { freeaddrinfo(list) }
        var found: [StoreAddress] = []
        var next = list
        while let entry = next, found.count < maxAddresses {
            if let address = entry.pointee.ai_addr {
                let octets = UnsafeRawBufferPointer(start: address, count: Int(entry.pointee.ai_addrlen))
                found.append(StoreAddress(family: entry.pointee.ai_family, octets: Array(octets)))
            }
            next = entry.pointee.ai_next
        }
        guard !found.isEmpty else { throw .unreachable("\(server.host) has no address") }
        return found
    }
}
