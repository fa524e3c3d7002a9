// Puts a socket that is already listening in the place of libmilter's own. libmilter has no call for that: it opens a
// throw-away socket of the same family (it hangs up on clients of another), and dup2(2) lays ours over its number.
// libmilter does not tell that number: it is found by the throw-away's address, which nobody else can listen at.

import CMilter
import Glibc

enum MilterListener {
    /// - Parameter listener: a listening socket; closed, its duplicate lives on under libmilter's number.
    /// - Returns: libmilter's number of the socket.
    static func replace(by listener: Int32) throws(MilterServerError) -> Int32 {
        guard let name = socketName(listener) else { throw .system("getsockname", message(errno)) }
        let own = try throwAway(Int32(name.family))
        guard dup2(listener, own) == own else { throw .system("dup2", message(errno)) }
        _ = fcntl(own, F_SETFD, FD_CLOEXEC)
        Glibc.close(listener)
        return own
    }

    /// Has libmilter open a socket that nobody is told of.
    /// - Returns: its number.
    private static func throwAway(_ family: Int32) throws(MilterServerError) -> Int32 {
        switch family {
        case AF_INET, AF_INET6:
            let free = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            guard free >= 0 else { throw .system("socket", message(errno)) }
            // A port of the kernel's choice, given back for libmilter to take: whoever is faster makes its open fail.
            let place = bindToLoopback(free, family)
            Glibc.close(free)
            guard let place, let port = place.port else { throw .system("bind", message(errno)) }
            return try open(family == AF_INET ? "inet:\(port)@127.0.0.1" : "inet6:\(port)@::1", at: place)
        default:
            var template = Array("/tmp/postern-milter-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw .system("mkdtemp", message(errno)) }
            let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            defer {
                unlink(folder + "/s")
                rmdir(folder)
            }
            return try open("unix:\(folder)/s", at: SocketName(path: folder + "/s"))
        }
    }

    private static func open(_ connection: String, at place: SocketName) throws(MilterServerError) -> Int32 {
        var text = Array(connection.utf8CString)
        guard smfi_setconn(&text) == MI_SUCCESS else { throw .libmilter("smfi_setconn") }
        guard smfi_opensocket(0) == MI_SUCCESS else { throw .libmilter("smfi_opensocket") }
        guard let own = listening(at: place) else {
            throw .libmilter("smfi_opensocket opened no socket that could be found; it")
        }
        return own
    }

    /// The process's descriptor that listens there.
    static func listening(at place: SocketName) -> Int32? {
        openDescriptors().first { isListening($0) && socketName($0) == place }
    }

    /// Connects to the socket and hangs up, so that a poll on it returns.
    static func wake(_ listener: Int32) {
        // Where it fails the watchdog's probe does too, and says so.
        if let client = try? MilterProbe.dial(listener) { Glibc.close(client) }
    }

    /// - Returns: nil with errno set for what is no socket.
    static func socketName(_ descriptor: Int32) -> SocketName? {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard status == 0 else { return nil }
        return withUnsafeBytes(of: &address) { SocketName(octets: Array($0.prefix(Int(length)))) }
    }

    static func bindToLoopback(_ descriptor: Int32, _ family: Int32) -> SocketName? {
        var address = sockaddr_storage()
        address.ss_family = sa_family_t(family)
        let bound = withUnsafeMutablePointer(to: &address) { storage in
            if family == AF_INET {
                storage.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    $0.pointee.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
                }
            } else {
                storage.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    $0.pointee.sin6_addr = in6addr_loopback
                }
            }
            let length = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
            return storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(length)) }
        }
        return bound == 0 ? socketName(descriptor) : nil
    }

    private static func openDescriptors() -> [Int32] {
        guard let folder = opendir("/proc/self/fd") else { return [] }
        defer { closedir(folder) }
        var found: [Int32] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let number = Int32(name), number != dirfd(folder) { found.append(number) }
        }
        return found
    }

    private static func isListening(_ descriptor: Int32) -> Bool {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value != 0
    }

    static func message(_ code: Int32) -> String { String(cString: strerror(code)) }
}

/// What getsockname(2) says, octet for octet: two sockets have the same only where they listen at the same place.
struct SocketName: Hashable {
    private let octets: [UInt8]

    fileprivate init(octets: [UInt8]) { self.octets = octets }

    /// A UNIX socket's: its family and path, which the kernel ends with NUL.
    init(path: String) {
        octets = withUnsafeBytes(of: sa_family_t(AF_UNIX)) { Array($0) } + path.utf8 + [0]
    }

    var family: sa_family_t { octets.count < 2 ? 0 : octets.withUnsafeBytes { $0.loadUnaligned(as: sa_family_t.self) } }

    /// For people: the path of a UNIX socket.
    var place: String {
        if let port { return "port \(port)" }
        return String(decoding: octets.dropFirst(MemoryLayout<sa_family_t>.size).prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Of TCP.
    var port: UInt16? {
        guard family == AF_INET || family == AF_INET6, octets.count >= 4 else { return nil }
        return UInt16(bigEndian: octets.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self) })
    }
}
