// The file of a UNIX listening socket (unix(7)): made with its mode before anybody can connect, put in place of a stale
// one that a crash left behind, never in place of one that is served nor of anything else, and removed if it is still
// ours.

import Glibc

/// Why a server could not begin.
public struct ForwarderError: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String
    init(_ description: String) { self.description = description }
}

struct UnixSocketFile {
    let path: String
    private let device: dev_t
    private let inode: ino_t

    /// Binds a stream socket to `path`; it does not listen yet.
    /// - Returns: the descriptor, which the caller owns, and the file.
    static func bind(path: String, mode: UInt32) throws(ForwarderError) -> (descriptor: CInt, file: UnixSocketFile) {
        try removeStale(path)
        let descriptor = try newSocket(path)
        do throws(ForwarderError) {
            guard withAddress(of: path, { Glibc.bind(descriptor, $0, $1) }) == 0 else { throw failure("bind", path) }
            // Before listen(2) every connect(2) is refused, so that nobody comes in with the umask's mode.
            guard chmod(path, mode) == 0 else { throw failure("chmod", path) }
            var status = stat()
            guard lstat(path, &status) == 0 else { throw failure("lstat", path) }
            return (descriptor, UnixSocketFile(path: path, device: status.st_dev, inode: status.st_ino))
        } catch {
            close(descriptor)  // never connected: there is nothing to lose
            throw error
        }
    }

    /// Removes the file if it is still the one that was made.
    func remove() {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_dev == device, status.st_ino == inode else { return }
        unlink(path)  // if it fails, the next start finds a stale socket and removes that
    }

    private static func removeStale(_ path: String) throws(ForwarderError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            guard errno == ENOENT else { throw failure("lstat", path) }
            return
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw ForwarderError("unix:\(path): there is a file that is no socket; it stays, and we do not start")
        }
        let probe = try newSocket(path)
        defer { close(probe) }
        guard withAddress(of: path, { connect(probe, $0, $1) }) != 0 else {
            throw ForwarderError("unix:\(path): another process serves it")
        }
        switch errno {
        case ECONNREFUSED: break
        case EAGAIN: throw ForwarderError("unix:\(path): another process serves it")  // its backlog is full
        default: throw failure("connect", path)
        }
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("unlink", path) }
    }

    private static func newSocket(_ path: String) throws(ForwarderError) -> CInt {
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, type, 0)
        guard descriptor >= 0 else { throw failure("socket", path) }
        return descriptor
    }

    private static func withAddress(
        of path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
    ) -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let octets = Array(path.utf8)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { place in
            guard octets.count < place.count else { return false }  // one octet is left for the NUL
            place.copyBytes(from: octets)
            return true
        }
        guard fits else {
            errno = ENAMETOOLONG
            return -1
        }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    private static func failure(_ call: String, _ path: String) -> ForwarderError {
        ForwarderError("unix:\(path): \(call): \(String(cString: strerror(errno)))")
    }
}
