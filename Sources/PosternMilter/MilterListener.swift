// Puts a socket that is already listening in the place of libmilter's own. libmilter has no call for that: it opens a
// throw-away socket of the same family, and dup2(2) lays ours over its number.

import CMilter
import Glibc

enum MilterListener {
    /// - Parameter listener: a listening socket; closed, its duplicate lives on under libmilter's number.
    /// - Returns: libmilter's number of the socket.
    static func replace(by listener: Int32) throws(MilterServerError) -> Int32 {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let known = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) }
        }
        guard known == 0 else { throw .system("getsockname", message(errno)) }
        let before = Set(openDescriptors())
        let family = Int32(address.ss_family)
        switch family {
        case AF_INET: try open("inet:0@127.0.0.1")
        case AF_INET6: try open("inet6:0@::1")
        default:
            var template = Array("/tmp/postern-milter-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw .system("mkdtemp", message(errno)) }
            let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            defer {
                unlink(folder + "/s")
                rmdir(folder)
            }
            try open("unix:" + folder + "/s")
        }
        guard let own = openDescriptors().first(where: { !before.contains($0) && isListening($0) }) else {
            throw .libmilter("smfi_opensocket opened no socket that could be found; it")
        }
        guard dup2(listener, own) == own else { throw .system("dup2", message(errno)) }
        _ = fcntl(own, F_SETFD, FD_CLOEXEC)
        Glibc.close(listener)
        return own
    }

    private static func open(_ connection: String) throws(MilterServerError) {
        var text = Array(connection.utf8CString)
        guard smfi_setconn(&text) == MI_SUCCESS else { throw .libmilter("smfi_setconn") }
        guard smfi_opensocket(0) == MI_SUCCESS else { throw .libmilter("smfi_opensocket") }
    }

    /// Connects to the socket and hangs up, so that a poll on it returns.
    static func wake(_ listener: Int32) {
        if let client = MilterProbe.dial(listener) { Glibc.close(client) }
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

    private static func message(_ code: Int32) -> String { String(cString: strerror(code)) }
}
