// A small file of one daemon's in the state folder, ours alone (0600), read and written as a whole. A new one is written
// beside it, brought to the disk and put in its place in one step, so that a crash leaves the old one or the new one. The
// folder is shared with other daemons: what is not a plain file of ours is not read.

internal import Glibc

public struct StateFile: Sendable {
    public let path: String

    public init(path: String) { self.path = path }

    /// Whether there is something of that name.
    public var isThere: Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// What the system said, and of what.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
        /// There is no such file.
        public private(set) var isAbsent = false

        fileprivate init(_ description: String) { self.description = description }
        /// Reads errno.
        fileprivate init(_ call: String, _ path: String) {
            let code = errno
            description = "\(call) \(path): \(String(cString: strerror(code)))"
            isAbsent = code == ENOENT
        }
    }

    /// The whole file.
    /// - Parameter limit: in octets; a longer one is not read.
    public func read(atMost limit: Int) throws(Failure) -> [UInt8] {
        // O_NONBLOCK: a FIFO put there must not hold us up.
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("open", path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Failure("fstat", path) }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid() else {
            throw Failure("\(path): expected a plain file of our own user, found another's or another kind")
        }
        guard status.st_size <= limit else {
            throw Failure("\(path): expected at most \(limit) octets, found \(status.st_size)")
        }
        var octets: [UInt8] = []
        octets.reserveCapacity(Int(status.st_size))
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count == 0 { return octets }
            if count < 0 {
                if errno == EINTR { continue }
                throw Failure("read", path)
            }
            octets.append(contentsOf: buffer.prefix(count))
            guard octets.count <= limit else { throw Failure("\(path): it grows while it is read") }
        }
    }

    /// Puts a new file in place.
    /// - Parameter body: hands its octets to the function that it is given, in order.
    /// - Throws: a `Failure`, or what `body` throws; the old file stays.
    public func replace(_ body: (_ write: ([UInt8]) throws -> Void) throws -> Void) throws {
        let fresh = path + ".new"
        unlink(fresh)  // of a crash; if it stays, open tells
        let descriptor = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Failure("open", fresh) }
        var isPlaced = false
        defer {
            close(descriptor)
            if !isPlaced { unlink(fresh) }
        }
        try body { octets in
            guard WholeWrite.put(octets, into: descriptor) else { throw Failure("write", fresh) }
        }
        // Without it a crash could leave the new name with nothing in it. Source: fsync(2), rename(2).
        guard fsync(descriptor) == 0 else { throw Failure("fsync", fresh) }
        guard rename(fresh, path) == 0 else { throw Failure("rename", path) }
        isPlaced = true
        syncFolder()
    }

    /// Puts a new file in place.
    public func replace(by octets: [UInt8]) throws { try replace { write in try write(octets) } }

    /// A name that is lost with the power costs an older file: no failure.
    private func syncFolder() {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let descriptor = open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        _ = fsync(descriptor)
        close(descriptor)
    }
}
